"""idle — what does the daemon cost while nothing happens?"""

import time

from benchmarks import procfs
from benchmarks.daemon import running
from benchmarks.memory import name_processes
from benchmarks.results import Figure, Options, Result, new_result

__all__ = ["measure"]

QUESTION = "How much CPU do all processes of the daemon use together while nobody sends or listens?"
METHOD = (
    "CPU time (user and system) and voluntary context switches of every process, read from /proc twice; a percentage "
    "is of one core. CPU time is counted in ticks of 10 ms, so figures below 0.1 % say only that it is little."
)
SETTLE_SEC = 2.0
SPAN_SEC, SPAN_SEC_QUICK = 20.0, 5.0


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    span_sec = SPAN_SEC_QUICK if options.quick else SPAN_SEC
    with running(options.target) as server:
        time.sleep(SETTLE_SEC)
        names = name_processes(server)
        before = {pid: procfs.usage_of(pid) for pid in names}
        time.sleep(span_sec)
        after = {pid: procfs.usage_of(pid) for pid in names}
    samples = {
        f"{name}: CPU %, wake-ups/s": [
            100 * (after[pid].cpu_sec - before[pid].cpu_sec) / span_sec,
            (after[pid].switches - before[pid].switches) / span_sec,
        ]
        for pid, name in names.items()
    }
    command = f"cat /proc/PID/stat, twice, {span_sec:.0f} s apart"
    figures = [
        Figure(
            "daemon, CPU of all processes when idle", sum(row[0] for row in samples.values()), "% of a core", command
        ),
        Figure(
            "daemon, wake-ups of all processes when idle", sum(row[1] for row in samples.values()), "per s", command
        ),
    ]
    return new_result("idle", QUESTION, METHOD, options, figures, samples)
