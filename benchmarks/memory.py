"""memory — how much memory does the whole daemon hold when nothing happens?"""

import time
from collections import Counter

from benchmarks import procfs
from benchmarks.client import worker_names
from benchmarks.daemon import Server, running
from benchmarks.results import Figure, Options, Result, Samples, new_result

__all__ = ["measure", "name_processes"]

QUESTION = "How much memory do all processes of the daemon hold together when idle?"
METHOD = (
    "PSS from /proc/PID/smaps_rollup of the daemon and all its descendants, some seconds after it started on empty "
    "directories. PSS counts a page that n processes share as 1/n in each, so other Python processes on the machine "
    "may lower it a little. The echo server is measured in the same way."
)
SETTLE_SEC, SETTLE_SEC_QUICK = 5.0, 1.0
MB_PER_KIB = 1024 / 1_000_000
COMMAND = "cat /proc/PID/smaps_rollup"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    settle_sec = SETTLE_SEC_QUICK if options.quick else SETTLE_SEC
    with running("echo") as echo:
        time.sleep(settle_sec)
        echo_mb = sum(procfs.memory_of(pid).pss_kib for pid in echo.pids()) * MB_PER_KIB
    with running(options.target) as subject:
        time.sleep(settle_sec)
        rows = {name: procfs.memory_of(pid) for pid, name in name_processes(subject).items()}
    total_mb = sum(memory.pss_kib for memory in rows.values()) * MB_PER_KIB
    figures = [
        Figure("echo, PSS", echo_mb, "MB", COMMAND),
        Figure("daemon, PSS of all processes", total_mb, "MB", COMMAND, aim="≤ 150 MB"),
        *(
            Figure(f"daemon, PSS of {name}", memory.pss_kib * MB_PER_KIB, "MB", COMMAND)
            for name, memory in rows.items()
        ),
    ]
    samples: Samples = {
        f"{name}: PSS, RSS, private KiB": [memory.pss_kib, memory.rss_kib, memory.private_kib]
        for name, memory in rows.items()
    }
    return new_result("memory", QUESTION, METHOD, options, figures, samples)


def name_processes(server: Server) -> dict[int, str]:
    """Returns a name for each process of a server, none twice: the daemon's own word, else the command's."""
    workers = worker_names(server.address)
    names = {pid: workers.get(pid) or procfs.command_name(pid) for pid in server.pids()}
    names[server.process.pid] = "supervisor" if server.target == "daemon" else "echo"
    times = Counter(names.values())
    return {pid: name if times[name] == 1 else f"{name} {pid}" for pid, name in names.items()}
