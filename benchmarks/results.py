"""results — what a benchmark found out, on which machine and by which command; read and written as JSON.

One file per benchmark in results/; report.py makes the table from them. Knows nothing of what is measured.
"""

import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

from benchmarks.daemon import DATA_PARENT, Target

__all__ = ["RESULTS", "Figure", "Machine", "Options", "Result", "Samples", "load_results", "new_result", "save"]

RESULTS = Path(__file__).resolve().parent / "results"
Samples = dict[str, list[float]]
PACKAGES = ("mailroomd", "grpcio", "protobuf", "uvloop", "orjson", "msgspec")


@dataclass(frozen=True, slots=True)
class Options:
    """How a benchmark is to run."""

    quick: bool  # fewer and shorter rounds: says whether it works, not how fast it is
    target: Target  # what stands in the daemon's place: echo tries out the benchmark itself


@dataclass(frozen=True, slots=True)
class Figure:
    """One number; `aim` is what we want it to be, where we want something."""

    name: str
    value: float
    unit: str
    command: str
    aim: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured. `commit` ends in + where the tree held more than was committed."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    system: str
    filesystem: str  # of the directory that the daemon's data was in
    python: str
    packages: dict[str, str]
    h2load: str
    commit: str


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one benchmark. `samples` holds every single measurement behind the figures, by name, in order."""

    name: str
    question: str
    method: str
    command: str
    options: Options
    taken_at: str
    machine: Machine
    figures: list[Figure]
    samples: Samples


def new_result(
    name: str, question: str, method: str, options: Options, figures: list[Figure], samples: Samples
) -> Result:
    """Returns the result of a run that has just ended on this machine."""
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Result(name, question, method, _command(name, options), options, taken_at, _machine(), figures, samples)


def save(result: Result) -> Path:
    """Writes a result to its file, which it returns. Quick runs and runs against the echo have files of their own."""
    parts = [result.name]
    parts += ["echo"] if result.options.target == "echo" else []
    parts += ["quick"] if result.options.quick else []
    path = RESULTS / f"{'-'.join(parts)}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(result)), indent=2) + b"\n")
    return path


def load_results() -> list[Result]:
    """Returns the results of the full runs against the daemon, by name."""
    results = [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(RESULTS.glob("*.json"))]
    return [result for result in results if not result.options.quick and result.options.target == "daemon"]


def _command(name: str, options: Options) -> str:
    flags = (" --quick" if options.quick else "") + (" --target echo" if options.target == "echo" else "")
    return f".venv/bin/python -m benchmarks {name}{flags}"


def _machine() -> Machine:
    return Machine(
        cpu=_field(Path("/proc/cpuinfo"), "model name"),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) / 2**20, 1),
        kernel=platform.release(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        filesystem=_output("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(DATA_PARENT)),
        python=sys.version.split()[0],
        packages={package: metadata.version(package) for package in PACKAGES},
        h2load=_output("h2load", "--version"),
        commit=_commit(),
    )


def _field(path: Path, name: str) -> str:
    """Returns the first value of a `name : value` line of a file in /proc."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _commit() -> str:
    root = str(RESULTS.parent.parent)
    commit = _output("git", "-C", root, "rev-parse", "--short", "HEAD")
    changes = _output(
        "git", "-C", root, "status", "--porcelain", "--", ":!benchmarks/results", ":!benchmarks/README.md"
    )
    return commit + ("+" if changes else "")
