"""versions — compares this checkout's daemon with another checkout's: `python -m benchmarks.versions ../old`.

Both daemons run at the same time and take turns under the same load, so that a machine that slows down affects both.
The load comes from this checkout's clients. The other checkout has its own .venv, made by its `make setup`. Besides
rates it prints CPU time per message, which varies less than a rate on a machine with other guests.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import procfs
from benchmarks.clients.bulk import BulkJob, send_bulk
from benchmarks.clients.calls import CallsJob, measure_calls
from benchmarks.clients.control import count_messages
from benchmarks.clients.h2load import send
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.process import ROOT, end_in_order

Load = Callable[[Server, str], Mapping[str, float]]

SENDS, BULK, CALLS = 4_000, 10_000, 500
UNREAD = ("--max-unread", "10000000")


def main() -> None:
    """Measures both daemons in turn, and prints a table: other, this one, and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout, after `make setup` in it")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of turns for each daemon (default: 3)")
    arguments = parser.parse_args()
    python = arguments.other.resolve() / ".venv/bin/python"
    if not python.is_file():
        parser.error(f"{python} does not exist; run `make setup` in {arguments.other}")
    end_in_order()
    rounds = Rounds()
    with ExitStack() as servers:
        daemons = {
            "other": servers.enter_context(running("daemon", *UNREAD, python=str(python))),
            "this": servers.enter_context(running("daemon", *UNREAD)),
        }
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds} ...", flush=True)
            for load in (_sends, _bulk, _single):
                # The first of two turns finds a colder machine (up to a tenth): each daemon has it equally often.
                for names in (list(daemons), list(reversed(daemons))):
                    rounds.run(1, *(_turn(daemons[name], name, load, f"{number}-{names[0]}") for name in names))
    print(f"\nthis: {ROOT}\nother: {arguments.other.resolve()}\n")
    print(_table(rounds))


def _turn(daemon: Server, name: str, load: Load, turn: str) -> Callable[[int], Mapping[str, float]]:
    def measure(_: int) -> Mapping[str, float]:
        return {f"{name} {figure}": value for figure, value in load(daemon, f"{load.__name__}-{turn}").items()}

    return measure


def _sends(daemon: Server, agent: str) -> Mapping[str, float]:
    before = _cpu_ms(daemon)
    done = send(daemon.address, agent, SENDS, 8, 32)
    return {"256 unary sends at a time, /s": done.rate_per_sec} | _cost("unary", before, _cpu_ms(daemon), SENDS)


def _bulk(daemon: Server, agent: str) -> Mapping[str, float]:
    before = _cpu_ms(daemon)
    done = send_bulk(BulkJob(daemon.address, agent, BULK))
    sent = count_messages(daemon.address, agent)  # with the warm-up's
    return {"bulk, messages/s": done.rate_per_sec} | _cost("bulk", before, _cpu_ms(daemon), sent)


def _single(daemon: Server, agent: str) -> Mapping[str, float]:
    took = measure_calls(CallsJob(daemon.address, agent, CALLS))
    return {"one send at a time, p50 ms": took.p50_ms, "one send at a time, p99 ms": took.p99_ms}


def _cpu_ms(daemon: Server) -> dict[str, float]:
    """Returns the CPU time so far of each process of a daemon, by the process's name."""
    return {procfs.command_name(pid): procfs.usage_of(pid).cpu_sec * 1000 for pid in daemon.pids()}


def _cost(load: str, before: Mapping[str, float], after: Mapping[str, float], messages: int) -> dict[str, float]:
    used = {name: (after[name] - before[name]) * 1000 / messages for name in after if name in before}
    named = {f"{load}, CPU of {name}, µs": us for name, us in used.items() if us >= 1}
    return named | {f"{load}, CPU of all, µs": sum(used.values())}


def _table(rounds: Rounds) -> str:
    rows = [f"{'figure':46} {'other':>10} {'this':>10} {'ratio':>6}"]
    for name, ours in rounds.samples.items():
        figure = name.removeprefix("this ")
        theirs = rounds.samples.get(f"other {figure}")
        if figure == name or theirs is None:
            continue
        ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
        rows.append(f"{figure:46} {statistics.median(theirs):10,.2f} {statistics.median(ours):10,.2f} {ratio:6.2f}")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
