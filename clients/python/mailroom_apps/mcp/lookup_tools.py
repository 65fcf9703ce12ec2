"""LookupTools — the tools that look up agents and messages: list_agents, message_status."""

__all__ = ["LookupTools"]

from mailroom.agents import AgentInfo
from mailroom.aio import AsyncMailroom
from mailroom.records import iso_utc

from mailroom_apps.mcp.views import AgentsView, AgentView, StatusView, status_view

CALL_TIMEOUT_SEC = 10.0


class LookupTools:
    """The tools for looking up.

    Args:
        client: the client of the daemon.
    """

    def __init__(self, client: AsyncMailroom) -> None:
        self._client = client

    async def list_agents(self, alive_only: bool = False) -> AgentsView:
        """Returns all known agents, by name.

        Args:
            alive_only: leave out agents that are not connected and were not active within the last five minutes.
        """
        agents = await self._client.agents(alive_only=alive_only, timeout=CALL_TIMEOUT_SEC)
        return AgentsView(agents=list(map(_view, agents)))

    async def message_status(self, message_id: str) -> StatusView:
        """Returns the delivery state of a message."""
        return status_view(await self._client.get_message(message_id, timeout=CALL_TIMEOUT_SEC))


def _view(agent: AgentInfo) -> AgentView:
    return AgentView(
        name=agent.name,
        alive=agent.alive,
        last_seen=iso_utc(agent.last_seen) if agent.last_seen else None,
        unread=agent.unread,
        sessions=list(agent.sessions) or None,
    )
