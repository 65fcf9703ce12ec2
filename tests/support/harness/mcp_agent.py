"""MCP agent — the SDK's client and our server in this process, with a daemon at any address."""

__all__ = ["Agent", "agent_of"]

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mailroom import AsyncMailroom
from mailroom_apps.mcp.server import McpConfig, McpServer
from mailroom_apps.mcp.subscriptions import Subscriptions
from mcp.client import Client
from mcp.client.session import ClientSession


@dataclass(frozen=True)
class Agent:
    """An agent's session, and the server that it talks to."""

    session: ClientSession
    server: McpServer


@asynccontextmanager
async def agent_of(
    address: str, root: Path, name: str | None, *, channel: bool = False, team: str | None = None
) -> AsyncGenerator[Agent]:
    """Opens a session; without a name, each call has to name its agent."""
    async with AsyncMailroom(address, sender=name, grace=0.0) as client, Subscriptions(client, name) as subscriptions:
        server = McpServer(McpConfig(root=root, agent=name, channel=channel, team=team), client, subscriptions)
        async with Client(server.sdk, mode="legacy") as connected:
            yield Agent(connected.session, server)
