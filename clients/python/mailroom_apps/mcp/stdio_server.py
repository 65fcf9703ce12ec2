"""StdioServer — serves one client on stdin and stdout, which is how agents start an MCP server."""

__all__ = ["serve_stdio"]

import asyncio
import io
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import mcp_types as types
from anyio import AsyncFile, BrokenResourceError, ClosedResourceError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from mailroom_apps.mcp.front import REPEATED_ID, take_pending
from mailroom_apps.mcp.request_lines import RequestLines
from mailroom_apps.mcp.server import McpConfig, open_server


def serve_stdio(config: McpConfig) -> None:
    """Serves until stdin ends."""
    if sys.stdin.isatty():
        print(
            "mailroom: this MCP server expects the messages of an MCP client on stdin (press Ctrl-C to end it)",
            file=sys.stderr,
        )
    # The SDK reads stdin in a thread that cannot be interrupted. Nothing is lost: all state is the daemon's.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(config))


async def _serve(config: McpConfig) -> None:
    opened = asyncio.Event()

    async def send(message: types.JSONRPCNotification | types.JSONRPCError) -> None:
        await opened.wait()
        with suppress(ClosedResourceError, BrokenResourceError):  # the client is gone; this server ends next
            await outgoing.send(SessionMessage(message))

    lines = RequestLines(_claim_stdin(take_pending()), send)
    answers = AsyncFile(_claim_stdout())
    async with open_server(config) as server, stdio_server(stdin=lines, stdout=answers) as (incoming, outgoing):
        opened.set()
        notifying = asyncio.create_task(server.channel.notify_forever(send)) if server.channel else None
        try:
            await server.sdk.run(incoming, outgoing, server.options())
        finally:
            if notifying:
                notifying.cancel()


class _Replay(io.RawIOBase):
    """Reads some bytes, then a descriptor."""

    def __init__(self, first: bytes, descriptor: int) -> None:
        self._first = first
        self._descriptor = descriptor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        if not read:
            read = os.read(self._descriptor, len(buffer))
        buffer[: len(read)] = read
        return len(read)


class _Answers(io.TextIOWrapper):
    """Text output without the answer to the handshake that the front has answered already."""

    def write(self, text: str, /) -> int:
        is_repeated = REPEATED_ID in text and json.loads(text).get("id") == REPEATED_ID
        return len(text) if is_repeated else super().write(text)


def _claim_stdin(first: bytes) -> io.TextIOWrapper:
    """Returns stdin as UTF-8 text, and points descriptor 0 to /dev/null, so that nothing else reads the messages.

    Args:
        first: what was read from it already.
    """
    descriptor = os.dup(0)  # never closed: a thread may be reading from it when this process ends
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return io.TextIOWrapper(io.BufferedReader(_Replay(first, descriptor)), encoding="utf-8", errors="replace")


def _claim_stdout() -> io.TextIOWrapper:
    """Returns stdout as UTF-8 text, and points descriptor 1 to stderr, so that nothing else writes to the client."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return _Answers(os.fdopen(descriptor, "wb", closefd=False), encoding="utf-8")
