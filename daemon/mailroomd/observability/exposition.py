"""Exposition — what is shown of the metrics: families of samples, and their text for Prometheus.

Owns the sums of a histogram's buckets and the text format, version 0.0.4. Buckets below and above what is of interest
are summed up. Pure: words come from the caller (`ipc.worker_metrics`).
Source of the format: prometheus.io/docs/instrumenting/exposition_formats.
"""

__all__ = ["CONTENT_TYPE", "Family", "Reading", "Sample", "as_text", "families_of"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mailroomd.observability.metrics import BUCKETS, METRICS, Kind, Metric, role_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NS = 1e9
_SHORTEST_BITS, _LONGEST_BITS = 15, 36  # of nanoseconds: buckets from 33 µs to 69 s
_MOST_BITS = 17  # of a count: buckets up to 131,071


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of one process."""

    process: str
    words: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One number; `name` is its family's, with an ending where it is a part of a histogram."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(slots=True)
class Family:
    """All samples of one name."""

    name: str
    kind: Kind
    help: str
    samples: list[Sample] = field(default_factory=list[Sample])


def families_of(readings: Iterable[Reading]) -> list[Family]:
    """Returns the families of what these processes have counted, in the order of the table."""
    families: dict[str, Family] = {}
    known = list(readings)
    for metric in METRICS:
        family = families.setdefault(metric.name, Family(metric.name, metric.kind, metric.help))
        for one in known:
            if role_of(one.process) == metric.owner:
                family.samples += _samples(metric, one)
    return list(families.values())


def as_text(families: Iterable[Family]) -> str:
    """Returns families as Prometheus reads them."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{one.name}{_written(one.labels)} {_number(one.value)}" for one in family.samples]
    return "\n".join(lines) + "\n"


def _samples(metric: Metric, reading: Reading) -> Iterator[Sample]:
    process = ("process", reading.process)
    if metric.kind is Kind.HISTOGRAM:
        yield from _histogram(metric, reading.words[metric.at : metric.at + metric.words], process)
        return
    for index, value in enumerate(metric.values):
        labels = ((metric.label, value), process) if metric.label else (process,)
        yield Sample(metric.name, labels, reading.words[metric.at + index])


def _histogram(metric: Metric, words: Sequence[int], process: tuple[str, str]) -> Iterator[Sample]:
    total = words[BUCKETS] / _NS if metric.is_duration else words[BUCKETS]
    first, last = (_SHORTEST_BITS, _LONGEST_BITS) if metric.is_duration else (0, _MOST_BITS)
    for bits in range(first, last + 1):
        # a value of so many bits is below 2**bits; a count is a whole number, so at most one less
        bound = (1 << bits) / _NS if metric.is_duration else (1 << bits) - 1
        labels = (("le", _number(bound)), process)
        yield Sample(f"{metric.name}_bucket", labels, sum(words[: bits + 1]))
    count = sum(words[:BUCKETS])
    yield Sample(f"{metric.name}_bucket", (("le", "+Inf"), process), count)
    yield Sample(f"{metric.name}_sum", (process,), total)
    yield Sample(f"{metric.name}_count", (process,), count)


def _written(labels: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
