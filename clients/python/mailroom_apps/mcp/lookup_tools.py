"""LookupTools — the tools that look up agents and messages: list_agents, message_status."""

__all__ = ["LookupTools"]

from mailroom.agents import AgentInfo
from mailroom.aio import AsyncMailroom
from mailroom.errors import PermissionDenied
from mailroom.records import iso_utc

from mailroom_apps.mcp.answer_size import fit_views
from mailroom_apps.mcp.views import AgentsView, AgentView, StatusView, status_view

CALL_TIMEOUT_SEC = 10.0
MAX_SESSIONS = 3  # listed of an agent; each `claude -p` was one


class LookupTools:
    """The tools for looking up.

    Args:
        client: the client of the daemon.
        agent: whose tools they are; None: tools for all agents.
    """

    def __init__(self, client: AsyncMailroom, agent: str | None) -> None:
        self._client = client
        self._agent = agent

    async def list_agents(self, alive_only: bool = False) -> AgentsView:
        """Returns all known agents, by name.

        Args:
            alive_only: leave out agents that are not connected and were not active within the last five minutes.
        """
        agents = await self._client.agents(alive_only=alive_only, timeout=CALL_TIMEOUT_SEC)
        fitting = fit_views(list(map(_view, agents)))
        return AgentsView(agents=fitting, more=(len(agents) - len(fitting)) or None)

    async def message_status(self, message_id: str) -> StatusView:
        """Returns the delivery state of a message.

        Raises:
            PermissionDenied: the message is neither to nor from the agent.
        """
        tracked = await self._client.get_message(message_id, timeout=CALL_TIMEOUT_SEC)
        if self._agent is not None and self._agent not in (tracked.message.sender, tracked.message.recipient):
            raise PermissionDenied(f"message {message_id} is neither to nor from {self._agent}", reason="NOT_YOURS")
        return status_view(tracked)


def _view(agent: AgentInfo) -> AgentView:
    return AgentView(
        name=agent.name,
        alive=agent.alive,
        last_seen=iso_utc(agent.last_seen) if agent.last_seen else None,
        unread=agent.unread,
        sessions=list(agent.sessions[-MAX_SESSIONS:]) or None,
        more_sessions=max(0, len(agent.sessions) - MAX_SESSIONS) or None,
    )
