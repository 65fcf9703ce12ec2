"""exposition — turns the words of metrics in shared memory into families of samples, and into text for Prometheus.

Owns the cumulative buckets of histograms and the text format, version 0.0.4. Buckets below and above the range of
interest are merged. Pure: the caller reads the words (`ipc.worker_metrics`).
Source of the format: prometheus.io/docs/instrumenting/exposition_formats.
"""

__all__ = ["CONTENT_TYPE", "Family", "Reading", "Sample", "collect_families", "render_prometheus"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mailroomd.observability.metrics import BUCKETS, METRICS, Kind, Metric, role_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NS = 1e9
_MIN_DURATION_BITS, _MAX_DURATION_BITS = 15, 36  # of nanoseconds: buckets from 33 µs to 69 s
_MAX_COUNT_BITS = 17  # buckets up to 131,071


@dataclass(frozen=True, slots=True)
class Reading:
    """The metrics of one process: its name, and the words of its block."""

    process: str
    words: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `name` is its family's, with a suffix for the parts of a histogram."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(slots=True)
class Family:
    """All samples of one metric."""

    name: str
    kind: Kind
    help: str
    samples: list[Sample] = field(default_factory=list[Sample])


def collect_families(readings: Iterable[Reading]) -> list[Family]:
    """Returns the families of these processes, in the order of the table of metrics."""
    families: dict[str, Family] = {}
    processes = list(readings)
    for metric in METRICS:
        family = families.setdefault(metric.name, Family(metric.name, metric.kind, metric.help))
        for reading in processes:
            if role_of(reading.process) == metric.owner:
                family.samples += _samples(metric, reading)
    return list(families.values())


def render_prometheus(families: Iterable[Family]) -> str:
    """Returns families in Prometheus' text format."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        lines += [
            f"{sample.name}{_format_labels(sample.labels)} {_format_value(sample.value)}" for sample in family.samples
        ]
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
    first, last = (_MIN_DURATION_BITS, _MAX_DURATION_BITS) if metric.is_duration else (0, _MAX_COUNT_BITS)
    for bits in range(first, last + 1):
        # A value of this many bits is below 2**bits; a count is a whole number, so at most one less.
        bound = (1 << bits) / _NS if metric.is_duration else (1 << bits) - 1
        labels = (("le", _format_value(bound)), process)
        yield Sample(f"{metric.name}_bucket", labels, sum(words[: bits + 1]))
    count = sum(words[:BUCKETS])
    yield Sample(f"{metric.name}_bucket", (("le", "+Inf"), process), count)
    yield Sample(f"{metric.name}_sum", (process,), total)
    yield Sample(f"{metric.name}_count", (process,), count)


def _format_labels(labels: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _format_value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
