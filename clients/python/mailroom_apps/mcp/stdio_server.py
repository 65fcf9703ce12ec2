"""StdioServer — serves one client on stdin and stdout, which is how agents start an MCP server."""

__all__ = ["serve_stdio"]

import asyncio
import io
import os
import signal
import sys
from contextlib import suppress

import mcp_types as types
from anyio import BrokenResourceError, ClosedResourceError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

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

    lines = RequestLines(_claim_stdin(), send)
    async with open_server(config) as server, stdio_server(stdin=lines) as (incoming, outgoing):
        opened.set()
        notifying = asyncio.create_task(server.channel.notify_forever(send)) if server.channel else None
        try:
            await server.sdk.run(incoming, outgoing, server.options())
        finally:
            if notifying:
                notifying.cancel()


def _claim_stdin() -> io.TextIOWrapper:
    """Returns stdin as UTF-8 text, and points descriptor 0 to /dev/null, so that nothing else reads the messages."""
    descriptor = os.dup(0)  # never closed: a thread may be reading from it when this process ends
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return io.TextIOWrapper(os.fdopen(descriptor, "rb", closefd=False), encoding="utf-8", errors="replace")
