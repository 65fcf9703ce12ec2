"""AgentInfo — who has been here, and under which sessions."""

__all__ = ["AgentInfo"]

from dataclasses import dataclass
from datetime import datetime

from mailroom.records import Record


@dataclass(frozen=True, slots=True)
class AgentInfo(Record):
    """One agent.

    Attributes:
        alive: it subscribes now, or was here within the last five minutes.
        subscribers: its live streams.
        sessions: names that are an alias of it now.
    """

    name: str
    alive: bool
    last_seen: datetime | None
    subscribers: int
    unread: int
    sessions: tuple[str, ...]
