"""StdioServer — serves one client on stdin and stdout, which is how agents start an MCP server."""

__all__ = ["serve_stdio"]

import asyncio
import signal
import sys
from contextlib import suppress

import mcp_types as types
from anyio import BrokenResourceError, ClosedResourceError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

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
    async with open_server(config) as server, stdio_server() as (incoming, outgoing):

        async def send(notification: types.JSONRPCNotification) -> None:
            with suppress(ClosedResourceError, BrokenResourceError):  # the client is gone; this server ends next
                await outgoing.send(SessionMessage(notification))

        notifying = asyncio.create_task(server.channel.notify_forever(send)) if server.channel else None
        try:
            await server.sdk.run(incoming, outgoing, server.options())
        finally:
            if notifying:
                notifying.cancel()
