"""AgentInfo — one known agent, with its presence and its session aliases."""

__all__ = ["AgentInfo"]

from dataclasses import dataclass
from datetime import datetime

from mailroom.records import Record


@dataclass(frozen=True, slots=True)
class AgentInfo(Record):
    """One agent.

    Attributes:
        alive: it is subscribed now, or was active within the last five minutes.
        subscribers: the number of its open streams.
        sessions: its current aliases.
    """

    name: str
    alive: bool
    last_seen: datetime | None
    subscribers: int
    unread: int
    sessions: tuple[str, ...]
