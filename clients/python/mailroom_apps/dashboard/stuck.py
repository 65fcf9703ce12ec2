"""Stuck — which mailboxes hold mail that does not move, and why. Pure.

It reports what the daemon knows: ages and delivery states. It never says what an agent is doing.
"""

__all__ = ["Stuck", "find_stuck", "is_overdue"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailroom.agents import AgentInfo
from mailroom.messages import Message
from mailroom.records import Record
from mailroom.states import DeliveryState, Priority
from mailroom.stats import MailboxStats

from mailroom_apps.ages import format_age
from mailroom_apps.dashboard.config import DEFAULT_STUCK_SEC
from mailroom_apps.names import near_names

SHARES = {Priority.URGENT: 0.2, Priority.HIGH: 0.4}  # of the time that other mail has
MIN_SHARE = min(SHARES.values())
NEARLY_FULL = 0.9  # of the unread messages that a mailbox may hold


@dataclass(frozen=True, slots=True)
class Stuck(Record):
    """One mailbox with unread mail that is too old.

    Attributes:
        agent: the mailbox.
        unread: how many messages are unread.
        oldest_sec: the age of the oldest one.
        why: a stable word for the reason.
        sentence: the reason, for people.
        message_id: the oldest message that is too old.
        urgent: whether an urgent message is among them.
    """

    agent: str
    unread: int
    oldest_sec: int
    why: str
    sentence: str
    message_id: str
    urgent: bool


def is_overdue(message: Message, now: float, normal_sec: float) -> bool:
    """Returns whether a message is unread for longer than its priority allows.

    Args:
        message: the message.
        now: seconds since 1970.
        normal_sec: what a message of normal priority is allowed.
    """
    limit_sec = SHARES.get(message.priority, 1.0) * normal_sec
    return message.timestamp is not None and now - message.timestamp.timestamp() >= limit_sec


def find_stuck(
    stats: Iterable[MailboxStats],
    agents: Mapping[str, AgentInfo],
    unread: Mapping[str, Sequence[Message]],
    file_errors: Mapping[str, str],
    now: float,
    normal_sec: float = DEFAULT_STUCK_SEC,
    max_unread: int | None = None,
) -> list[Stuck]:
    """Returns the stuck mailboxes, those with urgent mail first, then the oldest.

    Args:
        stats: the counts of all mailboxes.
        agents: the agents that have been present, by name and by session.
        unread: the oldest unread messages of mailboxes that may be stuck.
        file_errors: why the inbox file of a message could not be written, by id.
        now: seconds since 1970.
        normal_sec: how long a message of normal priority may be unread.
        max_unread: how many unread messages a mailbox may hold; None if that is not known.
    """
    found: list[Stuck] = []
    for box in stats:
        late = [message for message in unread.get(box.agent_id, ()) if is_overdue(message, now, normal_sec)]
        if not late:
            continue
        why, sentence = _reason(late[0], box.agent_id, agents, file_errors, now)
        if max_unread and box.unread >= NEARLY_FULL * max_unread:
            share = f"{100 * box.unread // max_unread} % of {max_unread:,} unread messages"
            why, sentence = "full", f"{share}, then sends to it are refused; {sentence}"
        urgent = any(message.priority is Priority.URGENT for message in late)
        found.append(
            Stuck(box.agent_id, box.unread, box.oldest_unread_age_sec, why, sentence, late[0].id, urgent=urgent)
        )
    return sorted(found, key=lambda each: (not each.urgent, -each.oldest_sec, each.agent))


def _reason(
    oldest: Message, name: str, agents: Mapping[str, AgentInfo], file_errors: Mapping[str, str], now: float
) -> tuple[str, str]:
    if error := file_errors.get(oldest.id):
        return "file", f"inbox file not written: {error}"
    if ":" in name:  # on another host, which alone knows its agents
        return _elsewhere(oldest, name.rpartition(":")[2])
    agent = agents.get(name)
    if agent is None:
        near = near_names(name, agents)
        hint = f": did you mean {near[0]}?" if near else ""
        return "unknown", f"no agent of this name has ever been present{hint}"
    if not agent.alive:
        seen = format_age(now - agent.last_seen.timestamp()) if agent.last_seen else None
        return "away", f"agent not seen for {seen}" if seen else "agent never seen"
    if oldest.state is DeliveryState.OFFERED:
        return "unread", "offered, but not acknowledged"
    if oldest.state is DeliveryState.STORED:
        return "file", "inbox file not written yet"
    return "waiting", "in the inbox, but not offered yet; are the agent's hooks set up?"


def _elsewhere(oldest: Message, host: str) -> tuple[str, str]:
    if oldest.state is DeliveryState.STORED:
        return "host", f"not yet confirmed by the host {host}; `mailroom hub hosts` says why mail for it waits"
    return "unread", f"on the host {host}, but not acknowledged there"
