"""fairness — how does a flood by one sender affect the others?"""

__all__ = ["measure"]

import time
from functools import partial

from benchmarks.clients import h2load
from benchmarks.clients.control import count_messages
from benchmarks.clients.neighbours import NeighboursJob, measure_neighbours
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import running

QUESTION = "How long do other senders' sends take while one sender floods a mailbox?"
METHOD = (
    "Eight senders of one grpc.aio client send about 50 messages per second each, to their own mailboxes: alternately "
    "without other load, and while h2load keeps 512 sends of another sender in flight. The flood must outlast them, "
    "and its stored messages are counted."
)
COMMAND = "python -m benchmarks.clients.neighbours '{…}'"
SENDERS, PAUSE_SEC = 8, 0.02
CLIENTS, STREAMS = 4, 128


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    sends = options.pick(250, 100)
    with running("daemon", "--max-unread", "10000000") as daemon:

        def send(name: str, _: int) -> dict[str, float]:
            took = measure_neighbours(NeighboursJob(daemon.address, SENDERS, sends, PAUSE_SEC))
            return {f"{name} p50": took.p50_ms, f"{name} p99": took.p99_ms}

        def send_in_flood(round_number: int) -> dict[str, float]:
            victim, started = f"victim-{round_number}", time.monotonic()
            with h2load.flood(daemon.address, victim, CLIENTS, STREAMS):
                samples = send("flooded", round_number)
                stored = count_messages(daemon.address, victim)
            return samples | {"flood": stored / (time.monotonic() - started)}

        rounds.run(options.rounds, partial(send, "quiet"), send_in_flood)
    figures = [
        Figure(f"{name}, one durable send, {part}", rounds.median(f"{name} {part}"), "ms", COMMAND)
        for name in ("quiet", "flooded")
        for part in ("p50", "p99")
    ]
    figures += [
        Figure("stored sends of the flood", rounds.median("flood"), "sends/s", "h2load -c 4 -m 128 …"),
        Figure("p50 in a flood, vs. quiet", rounds.ratio("flooded p50", "quiet p50"), "×", COMMAND),
        Figure("p99 in a flood, vs. quiet", rounds.ratio("flooded p99", "quiet p99"), "×", COMMAND, at_most(5)),
    ]
    return new_result("fairness", QUESTION, METHOD, options, figures, rounds.samples)
