"""Over stdio — serves one client on stdin and stdout, which is how agents start an MCP server."""

__all__ = ["serve_stdio"]

import asyncio
import signal
import sys
from contextlib import suppress

import mcp_types as types
from anyio import BrokenResourceError, ClosedResourceError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from mailroom_apps.mcp.server import McpConfig, opened


def serve_stdio(config: McpConfig) -> None:
    """Serves until stdin ends."""
    if sys.stdin.isatty():
        print(
            "mailroom: this is an MCP server: it waits for an agent's messages on stdin (end with Ctrl-C)",
            file=sys.stderr,
        )
    # The SDK reads stdin in a thread that can't be interrupted. There is nothing to be saved here: the daemon has it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(config))


async def _serve(config: McpConfig) -> None:
    async with opened(config) as server, stdio_server() as (incoming, outgoing):

        async def send(notification: types.JSONRPCNotification) -> None:
            with suppress(ClosedResourceError, BrokenResourceError):  # the client is gone, and so are we in a moment
                await outgoing.send(SessionMessage(notification))

        ringing = asyncio.create_task(server.channel.ring(send)) if server.channel else None
        try:
            await server.sdk.run(incoming, outgoing, server.options())
        finally:
            if ringing:
                ringing.cancel()
