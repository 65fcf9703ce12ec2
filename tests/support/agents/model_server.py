"""ModelServer — a stub of the vendors' model services on the loopback interface: it records what a model would see.

One server speaks all protocols, by path: Anthropic Messages, OpenAI Responses and chat completions, Gemini. It accepts
any key and asks `script` what to answer.
"""

__all__ = ["ModelServer", "Request"]

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from support.agents import anthropic_protocol, gemini_protocol, openai_protocol
from support.agents.script import Turn, next_step
from support.harness.waiting import BOUND_SEC, wait_until


@dataclass(frozen=True)
class Request:
    """One request for an answer of the model.

    Attributes:
        received_sec: when, on the monotonic clock.
        turns: the conversation in it.
        tool_names: the tools that it offers.
        body: all of it.
    """

    received_sec: float
    turns: list[Turn]
    tool_names: list[str]
    body: dict[str, Any] = field(repr=False)

    @property
    def text(self) -> str:
        """Everything in the conversation, as text."""
        return "\n".join(turn.text for turn in self.turns)

    @property
    def outline(self) -> str:
        """The conversation with the beginning and the end of each turn, for the message of a failed test."""
        return "\n".join(
            f"{turn.role:9} {len(turn.text):6}  {turn.text[:120]!r} … {turn.text[-200:]!r}" for turn in self.turns
        )


Answer = tuple[str, bytes]  # content type and body
PROTOCOLS = (anthropic_protocol, openai_protocol, gemini_protocol)


class ModelServer:
    """The server; use it in a `with`. `errors` are its own: programs try again after them, and hang."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.errors: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send("application/json", json.dumps({"object": "list", "data": [], "models": []}).encode())

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    content_type, answer = owner.answer(self.path, json.loads(raw or b"{}"))
                except Exception as error:
                    owner.errors.append(f"{self.path}: {error!r}")
                    raise
                self._send(content_type, answer)

            def _send(self, content_type: str, answer: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the standard library
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        cast("Any", self._server).handle_error = lambda *_: None  # pyright: ignore[reportUnknownLambdaType] - a client that left

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """Returns the answer to a request, and records it if it asks the model with its tools."""
        protocol = next((each for each in PROTOCOLS if each.serves(path)), None)
        if protocol is None:
            return "application/json", b'{"input_tokens": 1, "totalTokens": 1}'
        turns, tool_names = protocol.turns_of(body), protocol.tool_names_of(body)
        if tool_names:
            self.requests.append(Request(time.monotonic(), turns, tool_names, body))
        return protocol.encode(next_step(turns, tool_names), path, body)

    def wait_for(self, condition: Callable[[Request], bool], what: str, bound_sec: float = BOUND_SEC) -> Request:
        """Waits for a request that fulfils a condition, and returns the first one."""
        wait_until(lambda: any(map(condition, list(self.requests))), what, bound_sec)
        return next(filter(condition, list(self.requests)))

    def wait_for_text(self, text: str, bound_sec: float = BOUND_SEC) -> Request:
        """Waits until a request has a text in its conversation."""
        return self.wait_for(lambda request: text in request.text, f"the model sees {text!r}", bound_sec)
