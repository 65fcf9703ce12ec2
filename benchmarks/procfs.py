"""procfs — what /proc says about a process and its descendants: who they are, their memory, their CPU time."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "Usage", "command_name", "family", "is_same_process", "memory_of", "start_time", "usage_of"]

PROC = Path("/proc")
PPID, STARTTIME = 1, 19  # places in /proc/PID/stat after the name, proc(5)


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process in KiB: PSS counts a page shared by n processes as 1/n in each."""

    pss_kib: int
    rss_kib: int
    private_kib: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has used since it started."""

    cpu_sec: float
    switches: int  # voluntary context switches of all threads: how often it slept and woke


def _stat(pid: int) -> list[str]:
    # The name in brackets may hold spaces and brackets, so the fields are counted from the last one.
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
    """Returns when a process started, in ticks since boot: tells it from a later one with the same id."""
    return _stat(pid)[STARTTIME]


def is_same_process(pid: int, started: str) -> bool:
    """Says whether a process that started then is still there."""
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
                continue  # gone between the listing and the look
    found = [root]
    for pid in found:
        found.extend(sorted(children.get(pid, [])))
    return found


def command_name(pid: int) -> str:
    """Returns the name that a process gave itself, or its program's."""
    return (PROC / str(pid) / "comm").read_text().strip()


def memory_of(pid: int) -> Memory:
    """Returns the memory of a process, from smaps_rollup."""
    rollup = _numbers(PROC / str(pid) / "smaps_rollup")
    private = rollup["Private_Clean"] + rollup["Private_Dirty"]
    return Memory(pss_kib=rollup["Pss"], rss_kib=rollup["Rss"], private_kib=private)


def usage_of(pid: int) -> Usage:
    """Returns the CPU time and context switches of a process: of those of its threads that live."""
    tasks = list((PROC / str(pid) / "task").iterdir())
    ran_ns = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    switches = sum(_numbers(task / "status")["voluntary_ctxt_switches"] for task in tasks)
    return Usage(cpu_sec=ran_ns / 1e9, switches=switches)
