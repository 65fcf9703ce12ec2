"""results — the results of a benchmark, with machine and commands; read and written as JSON.

There is one file per benchmark in results/, from which `report` generates the tables and the plot. Not here: what is
measured.
"""

__all__ = [
    "RESULTS",
    "Aim",
    "Figure",
    "Options",
    "Result",
    "Samples",
    "at_least",
    "at_most",
    "load_results",
    "new_result",
    "save",
]

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.machine import Machine, this_machine

RESULTS = Path(__file__).resolve().parent / "results"
Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a benchmark."""

    quick: bool  # fewer, shorter rounds and smaller stores: shows that it works, not how fast it is

    @property
    def rounds(self) -> int:
        """How many times each contender is measured."""
        return 2 if self.quick else 5

    def pick(self, full: int, quick: int) -> int:
        """Returns the number for a full or a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Aim:
    """A target for a figure."""

    bound: float
    is_minimum: bool  # otherwise a maximum

    def __str__(self) -> str:
        return f"{'≥' if self.is_minimum else '≤'} {self.bound:g}"

    def is_met_by(self, value: float) -> bool:
        """Returns whether a value meets the aim."""
        return value >= self.bound if self.is_minimum else value <= self.bound

    def share(self, value: float) -> float:
        """Returns a value as a share of the aim: 1 or more means met, for minimum and maximum alike."""
        if not self.bound:
            return float(self.is_met_by(value))
        return value / self.bound if self.is_minimum else self.bound / max(value, 1e-9)


def at_least(bound: float) -> Aim:
    """Returns a minimum."""
    return Aim(bound, is_minimum=True)


def at_most(bound: float) -> Aim:
    """Returns a maximum."""
    return Aim(bound, is_minimum=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number; `aim` is its target, if it has one."""

    name: str
    value: float
    unit: str
    command: str
    aim: Aim | None = None

    @property
    def verdict(self) -> str:
        """ "met" or "missed"; empty without an aim."""
        if self.aim is None:
            return ""
        return "met" if self.aim.is_met_by(self.value) else "missed"


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one benchmark. `samples` holds every measurement behind the figures, by name and in order."""

    name: str
    question: str
    method: str
    command: str
    options: Options
    taken_at: str
    took_sec: float
    machine: Machine
    figures: list[Figure]
    samples: Samples


def new_result(
    name: str, question: str, method: str, options: Options, figures: list[Figure], samples: Samples
) -> Result:
    """Returns the result of a run that has just finished on this machine."""
    command = f".venv/bin/python -m benchmarks {name}" + (" --quick" if options.quick else "")
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Result(name, question, method, command, options, taken_at, 0.0, this_machine(), figures, samples)


def save(result: Result) -> Path:
    """Writes a result to its file and returns the path. Quick runs have their own files."""
    path = RESULTS / f"{result.name}{'-quick' if result.options.quick else ''}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(result)), indent=2) + b"\n")
    return path


def load_results(*, quick: bool = False) -> list[Result]:
    """Returns the results of the last full (or quick) run of each benchmark, sorted by file name."""
    results = [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(RESULTS.glob("*.json"))]
    return [result for result in results if result.options.quick == quick]
