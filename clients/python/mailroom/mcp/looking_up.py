"""LookingUp — the tools that say who is here and how far a message has come: list_agents, message_status."""

__all__ = ["LookingUp"]

from datetime import UTC, datetime, timedelta

from mailroom.aio import AsyncMailroom
from mailroom.mcp.views import AgentsView, AgentView, StatusView, status_view
from mailroom.records import iso_utc
from mailroom.stats import MailboxStats

ALIVE_FOR = timedelta(minutes=5)  # after it was last here
CALL_TIMEOUT_SEC = 10.0


class LookingUp:
    """What an agent looks things up with.

    Args:
        client: the daemon's.
    """

    def __init__(self, client: AsyncMailroom) -> None:
        self._client = client

    async def list_agents(self, alive_only: bool = False) -> AgentsView:
        """Returns who has been here, by name.

        Args:
            alive_only: leave out who neither listens nor was here within the last five minutes.
        """
        mailboxes = await self._client.stats(timeout=CALL_TIMEOUT_SEC)
        agents = [_agent(mailbox) for mailbox in mailboxes if mailbox.last_seen]
        return AgentsView(agents=[agent for agent in agents if agent.alive or not alive_only])

    async def message_status(self, message_id: str) -> StatusView:
        """Returns how far a message has come."""
        return status_view(await self._client.get_message(message_id, timeout=CALL_TIMEOUT_SEC))


def _agent(mailbox: MailboxStats) -> AgentView:
    seen = mailbox.last_seen
    alive = mailbox.subscribers > 0 or (seen is not None and datetime.now(UTC) - seen < ALIVE_FOR)
    return AgentView(
        name=mailbox.agent_id, alive=alive, last_seen=iso_utc(seen) if seen else None, unread=mailbox.unread
    )
