"""memory — how much memory do all processes of the daemon use together?"""

__all__ = ["measure"]

import time
from pathlib import Path

from benchmarks import procfs
from benchmarks.clients.streams import hold_idle_streams
from benchmarks.process_names import name_processes
from benchmarks.results import Aim, Figure, Options, Result, Samples, at_most, new_result
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.process import data_directory
from benchmarks.stores import Mail, prepare

QUESTION = (
    "How much memory do all processes use together: idle, with 1,000,000 stored messages, with 10,000 idle streams?"
)
METHOD = (
    "PSS from /proc/PID/smaps_rollup of the daemon and all its descendants, a few seconds after the start or after "
    "the last stream was opened. PSS counts a page shared by n processes as 1/n in each, so other Python processes on "
    "the machine can lower it slightly."
)
MB_PER_KIB = 1024 / 1_000_000
COMMAND = "cat /proc/PID/smaps_rollup"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    samples: Samples = {}
    stored, streams = options.pick(1_000_000, 100_000), options.pick(10_000, 1_000)
    full = prepare(Mail("deep", read=stored, unread=options.pick(10_000, 1_000)))
    figures = [
        _measure("idle", data_directory(), 0, at_most(120), options, samples),
        _measure(f"{stored:,} messages stored", full, 0, at_most(300), options, samples),
        _measure(f"{streams:,} idle streams", data_directory(), streams, at_most(450), options, samples),
    ]
    by_process = [
        Figure(f"idle, {name.removeprefix('idle: ')}", values[0] * MB_PER_KIB, "MB", COMMAND)
        for name, values in samples.items()
        if name.startswith("idle: ")
    ]
    return new_result("memory", QUESTION, METHOD, options, [*figures, *by_process], samples)


def _measure(name: str, data: Path, streams: int, aim: Aim, options: Options, samples: Samples) -> Figure:
    with running("daemon", data=data) as server:
        if streams:
            with hold_idle_streams(server.address, streams):
                memory_by_process = _settled(server, options)
        else:
            memory_by_process = _settled(server, options)
    for process, memory in memory_by_process.items():
        samples[f"{name}: {process}"] = [memory.pss_kib, memory.rss_kib, memory.private_kib]
    total_mb = sum(memory.pss_kib for memory in memory_by_process.values()) * MB_PER_KIB
    return Figure(f"{name}, PSS of all processes", total_mb, "MB", COMMAND, aim)


def _settled(server: Server, options: Options) -> dict[str, procfs.Memory]:
    time.sleep(options.pick(5, 1))
    return {name: procfs.memory_of(pid) for pid, name in name_processes(server).items()}
