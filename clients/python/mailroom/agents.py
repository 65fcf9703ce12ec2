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
        host: that it is on; None if it is this one. The name of an agent on another host ends with it: bob:build7.
    """

    name: str
    alive: bool
    last_seen: datetime | None
    subscribers: int
    unread: int
    sessions: tuple[str, ...]
    host: str | None = None
