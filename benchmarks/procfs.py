"""procfs — reads the processes of a family, their memory and their CPU time from /proc."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "Usage", "command_name", "family", "is_same_process", "memory_of", "start_time", "usage_of"]

PROC = Path("/proc")
PPID, STARTTIME = 1, 19  # indexes in /proc/PID/stat after the name, proc(5)


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one process in KiB. PSS counts a page shared by n processes as 1/n in each."""

    pss_kib: int
    rss_kib: int
    private_kib: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time and wake-ups of one process since it started."""

    cpu_sec: float
    switches: int  # voluntary context switches of all threads: how often it slept and woke


def _stat(pid: int) -> list[str]:
    # The name in brackets may contain spaces and brackets, so fields are counted from the last bracket.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _numbers(path: Path) -> dict[str, int]:
    """Returns the numbers of a file of `Name:  123 kB` lines, by name."""
    numbers: dict[str, int] = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        value = rest.split()
        if value and value[0].isdecimal():
            numbers[name] = int(value[0])
    return numbers


def start_time(pid: int) -> str:
    """Returns when a process started, in ticks since boot; distinguishes it from a later one with the same id."""
    return _stat(pid)[STARTTIME]


def is_same_process(pid: int, started: str) -> bool:
    """Returns whether the process that started then still exists."""
    try:
        return start_time(pid) == started
    except OSError:
        return False


def family(root: int) -> list[int]:
    """Returns the ids of a process and all its descendants, oldest generation first."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                children.setdefault(int(_stat(int(entry.name))[PPID]), []).append(int(entry.name))
            except OSError:
                continue  # it ended after it was listed
    members = [root]
    for pid in members:
        members.extend(sorted(children.get(pid, [])))
    return members


def command_name(pid: int) -> str:
    """Returns the name that a process set for itself, or its program's."""
    return (PROC / str(pid) / "comm").read_text().strip()


def memory_of(pid: int) -> Memory:
    """Returns the memory of a process, from smaps_rollup."""
    rollup = _numbers(PROC / str(pid) / "smaps_rollup")
    private = rollup["Private_Clean"] + rollup["Private_Dirty"]
    return Memory(pss_kib=rollup["Pss"], rss_kib=rollup["Rss"], private_kib=private)


def usage_of(pid: int) -> Usage:
    """Returns the CPU time and context switches of a process, for all of its living threads."""
    tasks = list((PROC / str(pid) / "task").iterdir())
    ran_ns = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    switches = sum(_numbers(task / "status")["voluntary_ctxt_switches"] for task in tasks)
    return Usage(cpu_sec=ran_ns / 1e9, switches=switches)
