"""idle — how much CPU does an idle daemon use?"""

__all__ = ["measure"]

import time

from benchmarks import procfs
from benchmarks.process_names import name_processes
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.servers.daemon import running

QUESTION = "How much CPU do all processes of the daemon use together without senders and subscribers?"
METHOD = (
    "CPU time of every thread of every process from schedstat, which counts nanoseconds, and their voluntary context "
    "switches, each read twice. 100% is one core."
)
SETTLE_SEC = 2.0


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    span_sec = options.pick(60, 5)
    with running("daemon") as server:
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
    command = f"cat /proc/PID/task/*/schedstat, twice, {span_sec} s apart"
    cpu, switches = (sum(sample[column] for sample in samples.values()) for column in (0, 1))
    figures = [
        Figure("idle, CPU of all processes", cpu, "% of a core", command, at_most(0.3)),
        Figure("idle, wake-ups of all processes", switches, "/s", command),
    ]
    return new_result("idle", QUESTION, METHOD, options, figures, samples)
