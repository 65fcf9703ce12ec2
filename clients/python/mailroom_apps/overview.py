"""Overview — rates, queues, latencies and the busiest mailboxes, computed from two samples of the daemon.

A rate is the difference of two counters, a percentile comes from the difference of two histograms. Pure: `cli.top` and
`dashboard.series` take the samples. The names of metrics are the daemon's (docs/grafana lists them).
"""

__all__ = ["Overview", "Sample", "compute_overview"]

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailroom.records import Record
from mailroom.stats import HubStatus, MailboxStats, MetricSample, Status, WorkerStatus

_PREFIX = "mailroom_"
_WAITING = frozenset({"orders_pending", "calls_waiting", "files_waiting", "team_entries_waiting", "index_backlog"})
_TOTALS = frozenset({"subscribers", "store_writable"})
_CAPACITIES = frozenset({"table_ring_bytes", "table_mailboxes", "database_bytes", "disk_free_bytes"})
_LATENCIES = ("send", "commit", "fsync", "file", "stream")
MAX_MAILBOXES = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon's state at one moment; `at_sec` is the reading of a monotonic clock."""

    at_sec: float
    health: str
    status: Status
    metrics: Sequence[MetricSample]
    mailboxes: Sequence[MailboxStats]


@dataclass(frozen=True, slots=True)
class BusyMailbox(Record):
    """A mailbox with unread or recently received messages."""

    agent_id: str
    unread: int
    oldest_unread_age_sec: int
    subscribers: int
    received: int  # between the two samples, not counting messages that were deleted meanwhile


@dataclass(frozen=True, slots=True)
class Overview(Record):
    """The daemon's activity between two samples.

    Attributes:
        seconds: the time between the samples.
        per_second: the rates of sends, repeats, refusals and of messages that reached each state.
        milliseconds: p50 and p99 of sends, commits, fsyncs, files and stream deliveries; None without any.
        queues: the number of waiting items by queue.
        refusals: the number of refusals between the samples by reason.
        gauges: space, table and subscribers by metric name without its prefix.
        hub: the exchange of mail with other hosts; None without it.
    """

    health: str
    version: str
    seconds: float
    workers: tuple[WorkerStatus, ...]
    per_second: Mapping[str, float] = field(hash=False)
    milliseconds: Mapping[str, tuple[float, float] | None] = field(hash=False)
    queues: Mapping[str, int] = field(hash=False)
    refusals: Mapping[str, int] = field(hash=False)
    gauges: Mapping[str, int] = field(hash=False)
    mailboxes: tuple[BusyMailbox, ...] = ()
    hub: HubStatus | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the overview as JSON-ready values."""
        plain = ("health", "version", "seconds", "per_second", "milliseconds", "queues", "refusals", "gauges")
        lists = {name: [record.to_dict() for record in getattr(self, name)] for name in ("workers", "mailboxes")}
        return {name: getattr(self, name) for name in plain} | lists | {"hub": self.hub.to_dict() if self.hub else None}


def compute_overview(before: Sample, now: Sample) -> Overview:
    """Returns the daemon's activity between two samples."""
    seconds = max(now.at_sec - before.at_sec, 1e-9)
    increase = _Increase(before.metrics, now.metrics)
    counts = {
        "sends": increase.total("sends_total"),
        "repeats": increase.total("repeats_total"),
        "refusals": increase.total("refusals_total"),
        **increase.by_label("states_total", "state"),
    }
    refusals = increase.by_label("refusals_total", "reason")
    return Overview(
        now.health,
        now.status.version,
        seconds,
        now.status.workers,
        {name: count / seconds for name, count in counts.items()},
        {name: increase.percentiles_ms(f"{name}_seconds") for name in _LATENCIES},
        _queues(now.metrics),
        {reason: int(count) for reason, count in refusals.items() if count},
        _gauges(now.metrics),
        _busiest(before.mailboxes, now.mailboxes),
        now.status.hub,
    )


class _Increase:
    """The increase of each counter between two samples; counters of a restarted daemon start at zero again."""

    def __init__(self, before: Iterable[MetricSample], now: Iterable[MetricSample]) -> None:
        previous = {_key(metric): metric.value for metric in before}
        self._increases: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for metric in now:
            increase = max(0.0, metric.value - previous.get(_key(metric), 0.0))
            self._increases[metric.name].append((metric.labels, increase))

    def total(self, name: str) -> float:
        return sum(value for _, value in self._increases[_PREFIX + name])

    def by_label(self, name: str, label: str) -> dict[str, float]:
        sums: defaultdict[str, float] = defaultdict(float)
        for labels, value in self._increases[_PREFIX + name]:
            sums[labels[label]] += value
        return dict(sums)

    def percentiles_ms(self, name: str) -> tuple[float, float] | None:
        """Returns the upper bounds of the buckets with p50 and p99, in milliseconds; None without any value."""
        buckets = sorted((float(le), count) for le, count in self.by_label(f"{name}_bucket", "le").items())
        count = buckets[-1][1] if buckets else 0.0
        if not count:
            return None
        p50, p99 = (next(bound for bound, below in buckets if below >= count * share) * 1000 for share in (0.5, 0.99))
        return round(p50, 3), round(p99, 3)


def _key(metric: MetricSample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return metric.name, tuple(sorted(metric.labels.items()))


def _queues(metrics: Iterable[MetricSample]) -> dict[str, int]:
    queues: defaultdict[str, int] = defaultdict(int)
    for metric in metrics:
        name = metric.name.removeprefix(_PREFIX)
        if name == "queue_items":
            queues[metric.labels["queue"]] += int(metric.value)
        elif name in _WAITING:
            queues[name] += int(metric.value)
    return dict(queues)


def _gauges(metrics: Iterable[MetricSample]) -> dict[str, int]:
    gauges: defaultdict[str, int] = defaultdict(int)
    for metric in metrics:
        name = metric.name.removeprefix(_PREFIX)
        if name in _TOTALS:
            gauges[name] += int(metric.value)
        elif name in _CAPACITIES:
            part = metric.labels.get("part") or metric.labels.get("place", "")
            gauges[f"{name}_{part}"] += int(metric.value)
    return dict(gauges)


def _busiest(before: Iterable[MailboxStats], now: Iterable[MailboxStats]) -> tuple[BusyMailbox, ...]:
    totals = {mailbox.agent_id: mailbox.total for mailbox in before}
    busy = [
        BusyMailbox(
            mailbox.agent_id,
            mailbox.unread,
            mailbox.oldest_unread_age_sec,
            mailbox.subscribers,
            max(0, mailbox.total - totals.get(mailbox.agent_id, 0)),
        )
        for mailbox in now
    ]
    busy.sort(key=lambda mailbox: (-mailbox.received, -mailbox.unread, mailbox.agent_id))
    return tuple(mailbox for mailbox in busy if mailbox.received or mailbox.unread)[:MAX_MAILBOXES]
