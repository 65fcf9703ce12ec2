"""results — what a benchmark found out, on which machine and by which command; read and written as JSON.

One file per benchmark in results/; `report` makes the tables and the plot from them. Knows nothing of what is measured.
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
    """How a benchmark is to run."""

    quick: bool  # fewer, shorter rounds and smaller stores: says whether it works, not how fast it is

    @property
    def rounds(self) -> int:
        """How often each thing is measured, in turn with what it is compared with."""
        return 2 if self.quick else 5

    def pick(self, full: int, quick: int) -> int:
        """Returns a number of a full or of a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should be."""

    bound: float
    is_least: bool  # else it is the most

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.bound:g}"

    def is_met_by(self, value: float) -> bool:
        """Returns whether a figure is as it should be."""
        return value >= self.bound if self.is_least else value <= self.bound

    def share(self, value: float) -> float:
        """Returns how far a figure is, as a share of the aim: 1 or more is met, whichever way the aim points."""
        return value / self.bound if self.is_least else self.bound / max(value, 1e-9)


def at_least(bound: float) -> Aim:
    """Returns the aim of a figure that should be large."""
    return Aim(bound, is_least=True)


def at_most(bound: float) -> Aim:
    """Returns the aim of a figure that should be small."""
    return Aim(bound, is_least=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number; `aim` is what we want it to be, where we want something."""

    name: str
    value: float
    unit: str
    command: str
    aim: Aim | None = None

    @property
    def verdict(self) -> str:
        """Whether the aim is met: "met", "missed", or nothing where there is none."""
        if self.aim is None:
            return ""
        return "met" if self.aim.is_met_by(self.value) else "missed"


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one benchmark. `samples` holds every single measurement behind the figures, by name, in order."""

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
    """Returns the result of a run that has just ended on this machine."""
    command = f".venv/bin/python -m benchmarks {name}" + (" --quick" if options.quick else "")
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Result(name, question, method, command, options, taken_at, 0.0, this_machine(), figures, samples)


def save(result: Result) -> Path:
    """Writes a result to its file, which it returns. Quick runs have files of their own."""
    path = RESULTS / f"{result.name}{'-quick' if result.options.quick else ''}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(result)), indent=2) + b"\n")
    return path


def load_results(*, quick: bool = False) -> list[Result]:
    """Returns the results of the last full (or quick) run of each benchmark, by name."""
    results = [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(RESULTS.glob("*.json"))]
    return [result for result in results if result.options.quick == quick]
