"""MailboxStats, QueueStats, Traffic, MetricSample and Status — counts, metrics, and the state of the daemon."""

__all__ = [
    "HostStatus",
    "HubStatus",
    "MailboxStats",
    "MetricSample",
    "PairTraffic",
    "QueueStats",
    "Status",
    "Traffic",
    "WorkerStatus",
]

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mailroom.records import Record


@dataclass(frozen=True, slots=True)
class MailboxStats(Record):
    """Message counts of one mailbox; `oldest_unread_age_sec` is 0 if nothing is unread."""

    agent_id: str
    total: int
    unread: int
    oldest_unread_age_sec: int
    subscribers: int
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class QueueStats(Record):
    """The pending inbox files of one session."""

    session_id: str
    pending_count: int
    oldest_age_sec: int


@dataclass(frozen=True, slots=True)
class WorkerStatus(Record):
    """One process of the daemon.

    Attributes:
        name: mailbox, command-queue or gateway.
        state: starting, running, restarting or stopping.
        last_exit: how its predecessor ended, for example "killed by SIGKILL"; "" if there was none.
    """

    name: str
    pid: int
    state: str
    restarts: int
    started_at: datetime | None
    last_exit: str


@dataclass(frozen=True, slots=True)
class HostStatus(Record):
    """Another host.

    Attributes:
        last_seen: when it last wrote to the hub.
        waiting: the number of messages that wait here until it confirms them.
        waiting_bytes: their size.
        problem: why nothing is sent to it; "" if nothing is in the way.
    """

    name: str
    last_seen: datetime | None
    waiting: int
    waiting_bytes: int
    problem: str


@dataclass(frozen=True, slots=True)
class HubStatus(Record):
    """The exchange of mail with other hosts.

    Attributes:
        host: the name of this host.
        connected: whether mail is exchanged.
        last_contact: when the hub last answered.
        problem: why no mail is exchanged; "" if it is.
        hosts: the other hosts, by name.
    """

    host: str
    connected: bool
    last_contact: datetime | None
    problem: str
    hosts: tuple[HostStatus, ...]


@dataclass(frozen=True, slots=True)
class Status(Record):
    """The daemon as a whole.

    Attributes:
        keep_read_sec: how long read and expired messages are kept; None if the daemon does not say.
        max_unread: how many unread messages a mailbox may hold; None if the daemon does not say.
        hub: the exchange of mail with other hosts; None if the daemon runs without --hub.
    """

    version: str
    started_at: datetime | None
    workers: tuple[WorkerStatus, ...]
    keep_read_sec: float | None = None
    max_unread: int | None = None
    hub: HubStatus | None = None


@dataclass(frozen=True, slots=True)
class PairTraffic(Record):
    """How many messages one sender sent to one mailbox."""

    sender: str
    recipient: str
    messages: int


@dataclass(frozen=True, slots=True)
class Traffic(Record):
    """Who talks to whom.

    Attributes:
        pairs: the most messages first.
        since: since when messages are counted; later than asked for where that would have taken too long.
        messages: the number of all that are counted.
    """

    pairs: tuple[PairTraffic, ...]
    since: datetime | None
    messages: int


@dataclass(frozen=True, slots=True)
class MetricSample(Record):
    """One metric sample, with the name and labels that Prometheus sees."""

    name: str
    labels: Mapping[str, str] = field(hash=False)
    value: float
