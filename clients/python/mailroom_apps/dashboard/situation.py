"""Situation — who needs the operator, who is stuck, which agents there are: what the first screen shows.

All pages share one answer until an event or an action, and for four seconds at most. So ten pages cost the daemon what
one costs.
"""

__all__ = ["Situation"]

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from mailroom.agents import AgentInfo
from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.messages import Message
from mailroom.records import iso_utc
from mailroom.states import DeliveryState
from mailroom.stats import MailboxStats

from mailroom_apps.dashboard.activity import Activity
from mailroom_apps.dashboard.incidents import Incidents
from mailroom_apps.dashboard.stuck import MIN_SHARE, Stuck, find_stuck
from mailroom_apps.dashboard.views import message_view

QUIET_SEC = 4.0  # an answer is shared while nothing happens: alive and stuck agents change without an event
BUSY_SEC = 1.0  # between two looks
TIMEOUT_SEC = 5.0
MAX_OWN = 200  # unread messages to the operator
MAX_CANDIDATES = 100  # mailboxes that are looked into
MESSAGES_EACH = 50  # the oldest of each


class Situation:
    """The situation of one daemon.

    Args:
        client: the connection to it.
        operator: the operator's mailbox, whose unread mail waits for the operator; it never counts as stuck.
        stuck_after_sec: after which time other unread mail of normal priority does.
        incidents: of the daemon, which the pages show among the mail.
        activity: of each agent.
        version: differs after each event and action.
    """

    def __init__(
        self,
        client: AsyncMailroom,
        operator: str,
        stuck_after_sec: float,
        incidents: Incidents,
        activity: Activity,
        version: Callable[[], Hashable],
    ) -> None:
        self._client = client
        self._operator = operator
        self._stuck_after_sec = stuck_after_sec
        self._incidents = incidents
        self._activity = activity
        self._version = version
        self._lock = asyncio.Lock()
        self._found: dict[str, Any] = {}
        self._looked_at = float("-inf")
        self._found_version: Hashable = None

    async def current(self) -> dict[str, Any]:
        """Returns the situation, with everything that has happened before this call.

        Raises:
            MailroomError: the daemon does not answer.
        """
        asked_at = time.monotonic()
        async with self._lock:
            age_sec = time.monotonic() - self._looked_at
            if self._looked_at >= asked_at or (age_sec < QUIET_SEC and self._version() == self._found_version):
                return self._found
            await asyncio.sleep(BUSY_SEC - age_sec)
            looked_at, version = time.monotonic(), self._version()
            self._found = await self._look()
            self._looked_at, self._found_version = looked_at, version
            return self._found

    async def _look(self) -> dict[str, Any]:
        status, stats, agents, own = await asyncio.gather(
            self._client.status(timeout=TIMEOUT_SEC),
            self._client.stats(timeout=TIMEOUT_SEC),
            self._client.agents(timeout=TIMEOUT_SEC),
            self._client.check_inbox(self._operator, limit=MAX_OWN, observe=True, timeout=TIMEOUT_SEC),
        )
        self._incidents.record_workers(status.workers)
        stuck = await self._find_stuck(stats, agents, status.max_unread)
        now = time.time()
        return {
            "mine": [message_view(message) for message in own],
            "more_mine": own.more,
            "stuck": [each.to_dict() for each in stuck],
            "agents": [row | self._activity.of(row["name"], now) for row in _agent_rows(stats, agents, stuck)],
            "incidents": self._incidents.latest(),
            "keep_read_sec": status.keep_read_sec,
        }

    async def _find_stuck(
        self, stats: Sequence[MailboxStats], agents: Sequence[AgentInfo], max_unread: int | None
    ) -> list[Stuck]:
        earliest_sec = MIN_SHARE * self._stuck_after_sec
        suspects = [
            box.agent_id
            for box in sorted(stats, key=lambda box: -box.oldest_unread_age_sec)
            if box.unread and box.oldest_unread_age_sec >= int(earliest_sec) and box.agent_id != self._operator
        ][:MAX_CANDIDATES]
        inboxes = await asyncio.gather(*map(self._oldest, suspects))
        errors = await self._file_errors(message for inbox in inboxes for message in inbox)
        by_name = {name: agent for agent in agents for name in (agent.name, *agent.sessions)}
        unread = dict(zip(suspects, inboxes, strict=True))
        return find_stuck(stats, by_name, unread, errors, time.time(), self._stuck_after_sec, max_unread)

    async def _oldest(self, agent: str) -> Sequence[Message]:
        inbox = await self._client.check_inbox(agent, limit=MESSAGES_EACH, observe=True, timeout=TIMEOUT_SEC)
        return inbox.messages

    async def _file_errors(self, messages: Iterable[Message]) -> dict[str, str]:
        ids = [message.id for message in messages if message.state is DeliveryState.STORED][:MAX_CANDIDATES]
        results = await asyncio.gather(*map(self._file_error, ids))
        return {message_id: error for message_id, error in zip(ids, results, strict=True) if error}

    async def _file_error(self, message_id: str) -> str | None:
        try:
            return (await self._client.get_message(message_id, timeout=TIMEOUT_SEC)).delivery.inbox_file_error
        except MailroomError:  # deleted meanwhile
            return None


def _agent_rows(
    stats: Sequence[MailboxStats], agents: Sequence[AgentInfo], stuck: Sequence[Stuck]
) -> list[dict[str, Any]]:
    """Returns every agent and every mailbox, by name."""
    counts = {box.agent_id: box for box in stats}
    known = {agent.name: agent for agent in agents}
    reasons = {each.agent: each.sentence for each in stuck}
    rows: list[dict[str, Any]] = []
    for name in sorted(counts.keys() | known.keys()):
        box, agent = counts.get(name), known.get(name)
        seen = agent.last_seen if agent else None
        rows.append(
            {
                "name": name,
                "known": agent is not None,
                "alive": agent is not None and agent.alive,
                "seen": iso_utc(seen) if seen else None,
                "streams": agent.subscribers if agent else 0,
                "sessions": list(agent.sessions) if agent else [],
                "total": box.total if box else 0,
                "unread": box.unread if box else 0,
                "oldest_sec": box.oldest_unread_age_sec if box else 0,
                "stuck": reasons.get(name),
            }
        )
    return rows
