"""startup — how long from the start of the process until a send would succeed?"""

__all__ = ["measure"]

import sys
from pathlib import Path

from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import running, start_command
from benchmarks.servers.process import data_directory
from benchmarks.stores import Mail, prepare

QUESTION = "How long from the start of the daemon's process until its health service reports SERVING?"
METHOD = (
    "On empty directories, and on 1,000,000 messages, 10,000 of them unread with a file each. One start and clean "
    "stop of each is not measured, so that the files are in the page cache. Timed from before the process is created "
    "until a client that connects after the line `is ready` has read SERVING. The echo server shows the share of "
    "Python, gRPC and the client."
)


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    stored, unread = options.pick(1_000_000, 100_000), options.pick(10_000, 1_000)
    full = prepare(Mail("deep", read=stored, unread=unread))
    for warm_up in (data_directory(), full):
        _start(warm_up)
    rounds.run(
        options.rounds,
        lambda _: {"echo": _start_echo()},
        lambda _: {"empty": _start(data_directory())},
        lambda _: {"full": _start(full)},
    )
    command = " ".join(start_command("daemon")).replace(sys.executable, "python")
    name = f"start with {stored:,} messages, {unread:,} unread"
    figures = [
        Figure("start of the echo server", rounds.median("echo"), "s", "python -m benchmarks.servers.echo_server"),
        Figure("start on empty directories", rounds.median("empty"), "s", command, at_most(0.8)),
        Figure(name, rounds.median("full"), "s", command, at_most(2.5)),
    ]
    return new_result("startup", QUESTION, METHOD, options, figures, rounds.samples)


def _start(data: Path) -> float:
    with running("daemon", data=data) as server:
        return server.serving_after_sec


def _start_echo() -> float:
    with running("echo") as server:
        return server.serving_after_sec
