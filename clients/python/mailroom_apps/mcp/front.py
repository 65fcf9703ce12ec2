"""Front — answers an MCP client's first requests while the SDK is still being imported.

Importing the SDK takes most of a second, and many times that on a busy machine; meanwhile some clients give up, or
begin their first turn without the tools. So the first answers are kept in a file of the package, which `make docs`
writes from what the server says: `initialize`, `ping`, and the lists of tools and resources. Anything else is left to
the server, and so are those requests once it can answer. The handshake is then repeated to the server, whose answer to
it is dropped.
Invariant: every line of the client is answered once, here or by the server; only modules that load fast are imported.
"""

__all__ = ["ANSWERS", "REPEATED_ID", "can_meet", "meet", "name_of_agent", "take_pending"]

import json
import os
import select
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec

from mailroom.inbox_directory import is_mailbox_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWERS = os.path.join(os.path.dirname(__file__), "first_answers.json")  # noqa: PTH118, PTH120 - pathlib loads slowly
REPEATED_ID = "mailroom-front"  # of the handshake that is repeated to the server
NAME_MARK = "{name}"  # in the kept instructions
READ_BYTES = 65_536
FIRST_LINE_SEC = 0.2  # before the import begins anyway; it slows the first answer

_pending = b""


def can_meet(arguments: "list[str]") -> bool:
    """Returns whether the server will serve one client on stdin in the usual way, as far as its command line tells."""
    options = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
    names = (name_of_agent(arguments), os.environ.get("MAILROOM_AGENT"))
    are_valid = all(name is None or is_mailbox_name(name) for name in names)
    is_plain = options <= {"--agent", "--root", "--address"} and "MAILROOM_CHANNEL" not in os.environ
    return is_plain and are_valid and find_spec("mcp") is not None


def name_of_agent(arguments: "list[str]") -> "str | None":
    """Returns whose server it is: as the command line says, the environment, or the program that starts it."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--agent":
            return value if equals else "".join(arguments[index + 1 : index + 2])
    session = os.environ.get("CLAUDE_CODE_SESSION_ID", "")
    return os.environ.get("MAILROOM_AGENT") or (session if is_mailbox_name(session) else None)


def take_pending() -> bytes:
    """Returns what the server has to read before the rest of stdin: the handshake, and what was not answered."""
    global _pending
    pending, _pending = _pending, b""
    return pending


class Front:
    """The first requests of one client on stdin and stdout.

    Args:
        agent: whose server it is; None: each call names its agent.
    """

    def __init__(self, agent: str | None) -> None:
        self._agent = agent
        with open(ANSWERS, "rb") as file:  # noqa: PTH123
            self._kept: dict[str, Any] = json.load(file)
        self._buffer = b""
        self._repeated: list[bytes] = []
        self._is_named = agent is not None
        self.has_met = False

    def pending(self) -> bytes:
        """Returns what the server has to read before the rest of stdin."""
        return b"".join(self._repeated) + self._buffer

    def answer_until(self, is_ready: "threading.Event") -> None:
        """Answers until the server is ready, a request needs it, or stdin ends."""
        while not is_ready.is_set():
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                if not self._answer(line):
                    return
                self._buffer = rest
            elif select.select([0], [], [], 0.02)[0]:
                if not (read := os.read(0, READ_BYTES)):
                    return
                self._buffer += read

    def answer_first(self) -> None:
        """Answers the first line, if it comes soon."""
        if b"\n" not in self._buffer and select.select([0], [], [], FIRST_LINE_SEC)[0]:
            self._buffer += os.read(0, READ_BYTES)
        line, newline, rest = self._buffer.partition(b"\n")
        if newline and self._answer(line):
            self._buffer = rest

    def _answer(self, line: bytes) -> bool:
        """Returns whether the line is dealt with."""
        try:
            message = json.loads(line)
            method, given_id = message["method"], message.get("id")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        if method == "notifications/initialized" and self.has_met:
            self._repeated.append(line + b"\n")
            return True
        if type(given_id) not in (int, str):
            return False
        result = self._result(method, message)
        if result is None:
            return False
        if method == "initialize":
            self.has_met = True
            self._repeated.append(json.dumps({**message, "id": REPEATED_ID}).encode() + b"\n")
        answer = json.dumps({"jsonrpc": "2.0", "id": given_id, "result": result}, separators=(",", ":"))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
        return True

    def _result(self, method: str, message: "dict[str, Any]") -> "dict[str, Any] | None":
        """Returns the result of a request; None if the server has to answer it."""
        if method == "initialize" and not self.has_met:
            return self._meeting(message["params"])
        if not self.has_met:
            return None
        if method == "ping":
            return {}
        # Codex names the caller of a tool, but has no resources of its own.
        is_named = self._is_named if method == "tools/list" else self._agent is not None
        kept = self._kept["named" if is_named else "unnamed"].get(method)
        return None if kept is None else _with_name(kept, self._agent)

    def _meeting(self, params: "Any") -> "dict[str, Any] | None":
        if not (_is_object(params) and _is_object(params.get("clientInfo")) and _is_object(params.get("capabilities"))):
            return None
        if params.get("protocolVersion") not in self._kept["versions"]:
            return None
        self._is_named = self._agent is not None or str(params["clientInfo"].get("name")).startswith("codex")
        identity = f"You are {self._agent}. " if self._agent else ""
        kept = self._kept["initialize"]
        instructions = kept["instructions"].replace(NAME_MARK, identity)
        return {**kept, "protocolVersion": params["protocolVersion"], "instructions": instructions}


def _with_name(kept: "dict[str, Any]", agent: "str | None") -> "dict[str, Any]":
    """Returns a kept answer with the agent's name, which stands in resources."""
    return json.loads(json.dumps(kept).replace("NAME", agent)) if agent and "resources" in kept else kept


def _is_object(value: "Any") -> bool:
    return isinstance(value, dict)


def meet(agent: str | None, load: "Callable[[], object]") -> None:
    """Answers the client while `load` imports what the server needs; returns when it has."""
    global _pending
    if sys.stdin.isatty():
        return
    try:
        front = Front(agent)
    except (OSError, ValueError):
        return  # the server answers everything itself
    front.answer_first()
    is_loaded = threading.Event()

    def load_and_say_so() -> None:
        try:
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would be taken for errors of the server
            load()
        except ImportError:
            pass  # the command itself says what is missing
        finally:
            is_loaded.set()

    loading = threading.Thread(target=load_and_say_so, name="import", daemon=True)
    loading.start()
    front.answer_until(is_loaded)
    loading.join()
    _pending = front.pending()
