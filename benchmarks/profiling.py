"""profiling — prints where each process of the daemon spends its time under a load.

`python -m benchmarks.profiling [LOAD]` runs the load once per tool and process, because tools slow down what they
observe: first without a tool (CPU time and context switches per message), then py-spy (Python functions), perf (C and
the kernel) and strace -c (system calls). For a missing tool it prints the reason. This is not a benchmark: under a tool
the rates are wrong, but the shares are right.
"""

__all__ = ["main"]

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import procfs
from benchmarks.clients import h2load
from benchmarks.clients.bulk import BATCH, BulkJob, send_bulk
from benchmarks.clients.calls import CallsJob, measure_calls
from benchmarks.clients.streams import FanOutJob, ReplayJob, measure_fan_out, measure_replay
from benchmarks.process_names import name_processes
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.process import end_in_order

Load = Callable[[Server, str], int]
MAX_LINES = 25  # of each list
PROFILED = ("gateway", "mailbox", "command-queue")
TOOL_GRACE_SEC = 60.0


def _many(server: Server, agent: str) -> int:
    return h2load.send(server.address, agent, 10_000, 8, 32).requests


def _single(server: Server, agent: str) -> int:
    job = CallsJob(server.address, agent, 2_000)
    measure_calls(job)
    return job.calls + job.warm_up


def _bulk(server: Server, agent: str) -> int:
    job = BulkJob(server.address, agent, 30_000)
    send_bulk(job)
    return job.messages + BATCH


def _fan_out(server: Server, agent: str) -> int:
    measure_fan_out(FanOutJob(server.address, agent, 100, 1_000))
    return 100_000


def _replay(server: Server, agent: str) -> int:
    messages = 30_000
    send_bulk(BulkJob(server.address, agent, messages))
    measure_replay(ReplayJob(server.address, agent, messages, BATCH))
    return messages


LOADS: dict[str, Load] = {
    "many": _many,
    "single": _single,
    "bulk": _bulk,
    "fan_out": _fan_out,
    "replay": _replay,
}


def main() -> None:
    """Profiles one load and prints the summary."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("load", nargs="?", choices=LOADS, default="many")
    load = LOADS[parser.parse_args().load]
    end_in_order()
    with running("daemon", "--max-unread", "10000000") as server:
        workers = {name: pid for pid, name in name_processes(server).items() if name in PROFILED}
        load(server, "warm-up")
        print(_plain(server, workers, load))
        for tool in (_py_spy, _perf, _strace):
            for name, pid in workers.items():
                print(f"\n== {tool.__name__.strip('_').replace('_', '-')}, {name}")
                print(tool(pid, lambda name=name, tool=tool: load(server, f"{tool.__name__}-{name}")), flush=True)


def _plain(server: Server, workers: dict[str, int], load: Load) -> str:
    before = {name: procfs.usage_of(pid) for name, pid in workers.items()}
    started = time.monotonic()
    messages = load(server, "plain")
    took = time.monotonic() - started
    lines = [f"{messages:,} messages in {took:.1f} s, {1e6 * took / messages:.0f} µs each; of that on a CPU:"]
    for name, pid in workers.items():
        after = procfs.usage_of(pid)
        cpu_us = 1e6 * (after.cpu_sec - before[name].cpu_sec) / messages
        switches = (after.switches - before[name].switches) / messages
        lines.append(f"  {name:<14} {cpu_us:7.1f} µs, {switches:.2f} voluntary switches per message")
    return "\n".join(lines)


def _py_spy(pid: int, load: Callable[[], int]) -> str:
    with tempfile.NamedTemporaryFile(prefix="mailroom-bench-", suffix=".txt") as stacks:
        program = str(Path(sys.executable).with_name("py-spy"))
        output = ["--format", "raw", "--output", stacks.name]
        command = [program, "record", "--function", "--rate", "500", "--duration", "600", *output, "--pid", str(pid)]
        error = _while_loaded(command, load)
        return _hottest(Path(stacks.name).read_text()) or error


def _hottest(stacks: str) -> str:
    """Returns the functions on top of the stack, and those anywhere in it, with their shares of the samples."""
    own, anywhere = Counter[str](), Counter[str]()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        names = frames.split(";")
        own[names[-1]] += int(count)
        for name in set(names):
            anywhere[name] += int(count)
    total = sum(own.values())
    lines: list[str] = []
    for title, counter in (("own time", own), ("including callees", anywhere)):
        lines += [f"-- {title}", *(f"  {100 * n / total:5.1f} %  {name}" for name, n in counter.most_common(MAX_LINES))]
    return "\n".join(lines) if total else ""


def _perf(pid: int, load: Callable[[], int]) -> str:
    with tempfile.NamedTemporaryFile(prefix="mailroom-bench-") as data:
        error = _while_loaded(["perf", "record", "-q", "-o", data.name, "-p", str(pid)], load)
        report = ["perf", "report", "-q", "--stdio", "--sort", "dso,symbol", "-i", data.name]
        shown = subprocess.run(report, capture_output=True, text=True, check=False).stdout
    return "\n".join([line for line in shown.splitlines() if line.strip()][:MAX_LINES]) or error


def _strace(pid: int, load: Callable[[], int]) -> str:
    with tempfile.NamedTemporaryFile(prefix="mailroom-bench-") as counts:
        error = _while_loaded(["strace", "-c", "-f", "-o", counts.name, "-p", str(pid)], load)
        return "\n".join(Path(counts.name).read_text().splitlines()[:MAX_LINES]) or error


def _while_loaded(command: list[str], load: Callable[[], int]) -> str:
    """Runs a tool while a load lasts; returns its error output."""
    with _tool(command) as errors:
        load()
    return errors[-1] if errors else ""


@contextmanager
def _tool(command: list[str]) -> Generator[list[str]]:
    errors: list[str] = []
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        errors.append(f"{command[0]} is not installed")
        yield errors
        return
    try:
        yield errors
    finally:
        process.send_signal(signal.SIGINT)  # it then writes its report
        _, error_output = process.communicate(timeout=TOOL_GRACE_SEC)
        errors.append(error_output.strip()[-500:])


if __name__ == "__main__":
    main()
