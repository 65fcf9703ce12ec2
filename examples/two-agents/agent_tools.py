"""AgentTools — one agent's tools: `mailroom mcp` over stdio, called through the MCP SDK's own client."""

__all__ = ["AgentTools", "say", "tools_of"]

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

WAIT_SEC = 60  # everything here takes less than a second, except on a busy machine


class AgentTools:
    """The tools of one agent."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Calls a tool and returns its result.

        Raises:
            RuntimeError: the tool failed; the text says why.
        """
        result = await self._client.call_tool(tool, arguments)
        if result.is_error or result.structured_content is None:
            raise RuntimeError(f"{tool}: {result.content}")
        return result.structured_content

    async def next_message(self) -> dict[str, Any]:
        """Waits for a message that this agent has not seen yet, and returns the oldest.

        Raises:
            TimeoutError: none arrived.
        """
        answer = await self.call("wait_for_message", timeout_sec=WAIT_SEC)
        if not answer["messages"]:
            raise TimeoutError(f"no message within {WAIT_SEC} s")
        return answer["messages"][0]


@asynccontextmanager
async def tools_of(agent: str) -> AsyncGenerator[AgentTools]:
    """Starts an agent's MCP server and yields its tools."""
    command = str(Path(sys.executable).with_name("mailroom"))
    server = StdioServerParameters(command=command, args=["mcp", "--agent", agent], env=dict(os.environ))
    async with Client(server) as client:
        yield AgentTools(client)


def say(agent: str, what: str) -> None:
    """Prints a line about an agent."""
    print(f"{agent:<8} {what}", flush=True)
