"""MCP client — the SDK's own client, in every revision of the protocol, for a real `mailroom mcp`."""

__all__ = [
    "MODERN",
    "VERSIONS",
    "HttpServer",
    "ask",
    "check",
    "environment",
    "error_of",
    "mailroom_command",
    "over_http",
    "over_stdio",
    "play",
    "read_answer_acknowledge",
    "running_http_server",
    "send",
    "session",
    "state_of",
    "until_offered",
]

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
from mailroom.v1 import mailroom_pb2 as pb
from mcp.client._transport import TransportStreams
from mcp.client.extension import NotificationBinding
from mcp.client.session import ClientSession, MessageHandlerFnT
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from support.harness.daemon import Daemon, running_daemon
from support.harness.waiting import BOUND_SEC, wait_until

VERSIONS = KNOWN_PROTOCOL_VERSIONS
MODERN = MODERN_PROTOCOL_VERSIONS[-1]

Transport = AbstractAsyncContextManager[TransportStreams]


@dataclass(frozen=True)
class HttpServer:
    """A running `mailroom mcp --http`, and its daemon."""

    daemon: Daemon
    url: str
    token_file: Path
    log: Path

    @property
    def token(self) -> str:
        """The token that its clients need."""
        return self.token_file.read_text().strip()


@contextmanager
def running_http_server(max_descriptors: int = 1024) -> Generator[HttpServer]:
    """Starts a daemon and a server, on a port that the system chooses and with a token file that the server creates."""
    with running_daemon() as daemon:
        output, token_file = daemon.directory / "mcp-output", daemon.directory / "new" / "mcp-token"
        log = daemon.directory / "mcp-log"
        command = [mailroom_command(), "mcp", "--http", "127.0.0.1:0", "--token-file", str(token_file)]
        limited = ["/bin/sh", "-c", f'ulimit -n {max_descriptors}; exec "$@"', "sh", *command]
        with output.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                limited, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment(daemon)
            )
        try:
            urls = wait_until(lambda: re.findall(r"is ready: (http://\S+)", output.read_text()), "the server is ready")
            yield HttpServer(daemon, urls[0], token_file, log)
        finally:
            process.terminate()
            process.wait(BOUND_SEC)


def mailroom_command() -> str:
    """Returns the path of `mailroom` in this virtual environment."""
    return str(Path(sys.executable).with_name("mailroom"))


def environment(daemon: Daemon, **more: str) -> dict[str, str]:
    """Returns the environment of an agent without configuration of its own."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_", "CLAUDE"))}
    settings = {"MAILROOM_ADDRESS": daemon.address, "MAILROOM_ROOT": str(daemon.root), "HOME": str(daemon.directory)}
    return base | settings | more


def over_stdio(daemon: Daemon, *arguments: str, **variables: str) -> Transport:
    """Returns the transport to a new `mailroom mcp`."""
    return stdio_client(
        StdioServerParameters(
            command=mailroom_command(), args=["mcp", *arguments], env=environment(daemon, **variables)
        )
    )


@asynccontextmanager
async def over_http(url: str, token: str) -> AsyncGenerator[TransportStreams]:
    """Opens the transport to a running server."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=BOUND_SEC) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Runs a scene with a time limit."""

    async def stage() -> None:
        async with asyncio.timeout(2 * BOUND_SEC):
            await scene()

    asyncio.run(stage())


def send(daemon: Daemon, recipient: str, content: str, sender: str = "dashboard") -> str:
    """Sends a message over gRPC; returns its id."""
    with daemon.calls() as calls:
        request = pb.SendMessageRequest(recipient=recipient, sender=sender, content=content)
        return calls.send(request, timeout=BOUND_SEC, wait_for_ready=True).message.id


def state_of(daemon: Daemon, message_id: str) -> int:
    """Returns the delivery state of a message."""
    with daemon.calls() as calls:
        return calls.get_message(pb.GetMessageRequest(id=message_id), timeout=BOUND_SEC).message.state


async def until_offered(daemon: Daemon, message_id: str) -> None:
    """Waits until the daemon knows that a message was shown."""
    offered = pb.DELIVERY_STATE_OFFERED
    await asyncio.to_thread(
        wait_until, lambda: state_of(daemon, message_id) == offered, "the message counts as offered"
    )


@asynccontextmanager
async def session(
    transport: Transport,
    version: str = MODERN,
    on_message: MessageHandlerFnT | None = None,
    bindings: list[NotificationBinding[Any]] | None = None,
) -> AsyncGenerator[ClientSession]:
    """Opens a session in one revision of the protocol."""
    async with (
        transport as (incoming, outgoing),
        ClientSession(
            incoming,
            outgoing,
            read_timeout_seconds=BOUND_SEC,
            message_handler=on_message,
            notification_bindings=bindings,
        ) as opened,
    ):
        if version in MODERN_PROTOCOL_VERSIONS:
            await _discover(opened)
        else:
            opened.adopt(await _shake_hands(opened, version))
            await opened.send_notification(types.InitializedNotification())
        assert opened.protocol_version == version
        yield opened


async def _discover(opened: ClientSession) -> None:
    """Asks until there is an answer: the SDK waits for ten seconds, a start on a busy machine may take longer."""
    while opened.discover_result is None:
        try:
            await opened.discover()
        except MCPError as error:
            if error.code != types.REQUEST_TIMEOUT:
                raise


async def _shake_hands(opened: ClientSession, version: str) -> types.InitializeResult:
    return await opened.send_request(
        types.InitializeRequest(
            params=types.InitializeRequestParams(
                protocol_version=version,
                capabilities=types.ClientCapabilities(),
                client_info=types.Implementation(name="test", version="1"),
            )
        ),
        types.InitializeResult,
    )


async def read_answer_acknowledge(agent: ClientSession, daemon: Daemon, me: str, **own_name: str) -> None:
    """Runs a whole exchange: a message arrives, is read, answered and acknowledged.

    Args:
        agent: the agent's session.
        daemon: the server's.
        me: the agent's name.
        own_name: `session_id`, if the server has no agent.
    """
    message_id = await asyncio.to_thread(send, daemon, me, "please look")
    assert len((await agent.list_tools()).tools) == 8
    (message,) = await check(agent, **own_name)
    assert (message["id"], message["sender"], message["content"]) == (message_id, "dashboard", "please look")
    assert message["shown_before"] is False
    await until_offered(daemon, message_id)
    (again,) = await check(agent, **own_name)
    assert again["shown_before"] is True
    assert await check(agent, new_only=True, **own_name) == []

    answer = await ask(agent, "reply", message_id=message_id, content="done", **own_name)
    assert (answer["recipient"], answer["state"]) == ("dashboard", "filed")
    status = await ask(agent, "message_status", message_id=message_id)
    assert [step["state"] for step in status["history"]] == ["stored", "filed", "offered"]

    done = await ask(agent, "acknowledge_message", message_id=message_id, **own_name)
    assert done == {"acknowledged": [message_id], "unknown": []}
    assert state_of(daemon, message_id) == pb.DELIVERY_STATE_READ
    assert await check(agent, **own_name) == []


async def ask(opened: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    """Calls a tool that must succeed; returns its result, after checking that text and structure agree."""
    result = await opened.call_tool(tool, arguments)
    text = _text(result)
    assert not result.is_error, text
    body: dict[str, Any] = json.loads(text)
    assert result.structured_content in (None, body)  # the oldest revisions have only the text
    return body


async def check(opened: ClientSession, **arguments: Any) -> list[dict[str, Any]]:
    """Returns the messages of check_inbox."""
    body = await ask(opened, "check_inbox", **arguments)
    return body["messages"]


async def error_of(opened: ClientSession, tool: str, **arguments: Any) -> str:
    """Calls a tool that must fail; returns its error sentence."""
    result = await opened.call_tool(tool, arguments)
    assert result.is_error, _text(result)
    return _text(result)


def _text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text
