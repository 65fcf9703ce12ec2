"""Overview — how the mail room does at the moment, from two looks at it: rates, queues, times, the busiest mailboxes.

Owns what is made of the daemon's numbers: a rate is the difference of two counts, a percentile that of two histograms.
Pure: who looks, and when, is `cli.top`. Names of metrics are the daemon's (docs/grafana has them all).
"""

__all__ = ["Look", "Overview", "overview_of"]

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailroom.records import Record
from mailroom.stats import MailboxStats, MetricSample, Status, WorkerStatus

_PREFIX = "mailroom_"
_WAITING = frozenset({"orders_pending", "calls_waiting", "files_waiting", "team_entries_waiting", "index_backlog"})
BUSIEST = 10


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment; `at_sec` is on any clock that does not jump."""

    at_sec: float
    health: str
    status: Status
    metrics: Sequence[MetricSample]
    mailboxes: Sequence[MailboxStats]


@dataclass(frozen=True, slots=True)
class BusyMailbox(Record):
    """A mailbox with much unread mail, or much that came in."""

    agent_id: str
    unread: int
    oldest_unread_age_sec: int
    subscribers: int
    received: int  # between the two looks; mail that was deleted meanwhile is not counted


@dataclass(frozen=True, slots=True)
class Overview(Record):
    """One snapshot.

    Attributes:
        seconds: between the two looks.
        per_second: rates of sends, repeats, refusals and of messages that reached each state.
        milliseconds: p50 and p99 of a send, a commit, files and the way to a stream; None where there was none.
        queues: what waits where.
        refusals: how many of each reason there were between the two looks.
        gauges: room, table, subscribers: by the name of the metric without its beginning.
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

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON-ready values."""
        plain = ("health", "version", "seconds", "per_second", "milliseconds", "queues", "refusals", "gauges")
        lists = {name: [one.to_dict() for one in getattr(self, name)] for name in ("workers", "mailboxes")}
        return {name: getattr(self, name) for name in plain} | lists


def overview_of(before: Look, now: Look) -> Overview:
    """Returns what two looks say together."""
    seconds = max(now.at_sec - before.at_sec, 1e-9)
    grown = _Growth(before.metrics, now.metrics)
    per_second = {
        "sends": grown.total("sends_total"),
        "repeats": grown.total("repeats_total"),
        "refusals": grown.total("refusals_total"),
        **grown.by_label("states_total", "state"),
    }
    times = {name: grown.percentiles_ms(f"{name}_seconds") for name in ("send", "commit", "fsync", "file", "stream")}
    return Overview(
        now.health,
        now.status.version,
        seconds,
        now.status.workers,
        {name: count / seconds for name, count in per_second.items()},
        times,
        _queues(now.metrics),
        {reason: int(count) for reason, count in grown.by_label("refusals_total", "reason").items() if count},
        _gauges(now.metrics),
        _busiest(before.mailboxes, now.mailboxes),
    )


class _Growth:
    """By how much each sample has grown; a daemon that was restarted in between has begun anew."""

    def __init__(self, before: Iterable[MetricSample], now: Iterable[MetricSample]) -> None:
        known = {_key(one): one.value for one in before}
        self._grown: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for one in now:
            self._grown[one.name].append((one.labels, max(0.0, one.value - known.get(_key(one), 0.0))))

    def total(self, name: str) -> float:
        return sum(value for _, value in self._grown[_PREFIX + name])

    def by_label(self, name: str, label: str) -> dict[str, float]:
        sums: defaultdict[str, float] = defaultdict(float)
        for labels, value in self._grown[_PREFIX + name]:
            sums[labels[label]] += value
        return dict(sums)

    def percentiles_ms(self, name: str) -> tuple[float, float] | None:
        """Returns the bounds in milliseconds below which half, and 99 of a hundred values are; None without any."""
        buckets = sorted((float(le), count) for le, count in self.by_label(f"{name}_bucket", "le").items())
        count = buckets[-1][1] if buckets else 0.0
        if not count:
            return None
        median, late = (
            next(bound for bound, below in buckets if below >= count * share) * 1000 for share in (0.5, 0.99)
        )
        return round(median, 3), round(late, 3)


def _key(sample: MetricSample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


def _queues(samples: Iterable[MetricSample]) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for one in samples:
        match one.name.removeprefix(_PREFIX):
            case "queue_items":
                found[one.labels["queue"]] += int(one.value)
            case (
                "orders_pending" | "calls_waiting" | "files_waiting" | "team_entries_waiting" | "index_backlog" as name
            ):
                found[name] += int(one.value)
            case _:
                pass
    return dict(found)


def _gauges(samples: Iterable[MetricSample]) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for one in samples:
        name = one.name.removeprefix(_PREFIX)
        if name in ("subscribers", "store_writable"):
            found[name] += int(one.value)
        elif name in ("table_ring_bytes", "table_mailboxes", "database_bytes", "disk_free_bytes"):
            part = one.labels.get("part") or one.labels.get("place", "")
            found[f"{name}_{part}"] += int(one.value)
    return dict(found)


def _busiest(before: Iterable[MailboxStats], now: Iterable[MailboxStats]) -> tuple[BusyMailbox, ...]:
    known = {one.agent_id: one.total for one in before}
    busy = [
        BusyMailbox(
            one.agent_id,
            one.unread,
            one.oldest_unread_age_sec,
            one.subscribers,
            max(0, one.total - known.get(one.agent_id, 0)),
        )
        for one in now
    ]
    busy.sort(key=lambda one: (-one.received, -one.unread, one.agent_id))
    return tuple(one for one in busy if one.received or one.unread)[:BUSIEST]
