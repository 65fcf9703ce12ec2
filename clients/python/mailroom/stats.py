"""MailboxStats, QueueStats, MetricSample and Status — what the mail room counts, and what its supervisor sees."""

__all__ = ["MailboxStats", "MetricSample", "QueueStats", "Status", "WorkerStatus"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mailroom.records import Record


@dataclass(frozen=True, slots=True)
class MailboxStats(Record):
    """Counts of one mailbox; `oldest_unread_age_sec` is 0 when nothing is unread."""

    agent_id: str
    total: int
    unread: int
    oldest_unread_age_sec: int
    subscribers: int
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class QueueStats(Record):
    """Inbox files of one session that nobody has taken yet; those without any are left out."""

    session_id: str
    pending_count: int
    oldest_age_sec: int


@dataclass(frozen=True, slots=True)
class WorkerStatus(Record):
    """One process of the daemon.

    Attributes:
        name: mailbox, command-queue or gateway.
        state: starting, running, restarting or stopping.
        last_exit: how its predecessor ended, e.g. "killed by SIGKILL"; "" if none did.
    """

    name: str
    pid: int
    state: str
    restarts: int
    started_at: datetime | None
    last_exit: str


@dataclass(frozen=True, slots=True)
class Status(Record):
    """The daemon as a whole."""

    version: str
    started_at: datetime | None
    workers: tuple[WorkerStatus, ...]


@dataclass(frozen=True, slots=True)
class MetricSample(Record):
    """One number that the daemon counts; names and labels are those that Prometheus reads."""

    name: str
    labels: Mapping[str, str] = field(hash=False)
    value: float
