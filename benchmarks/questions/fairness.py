"""fairness — what does a flood of one sender cost the others?"""

__all__ = ["measure"]

import time
from functools import partial

from benchmarks.clients import h2load
from benchmarks.clients.control import count_messages
from benchmarks.clients.neighbours import NeighboursJob, measure_neighbours
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import running

QUESTION = "How long do the sends of others take while one sender floods a mailbox?"
METHOD = (
    "Eight senders of one grpc.aio client send some 50 messages a second each, to mailboxes of their own: in turn when "
    "it is quiet, and while h2load keeps 512 sends of one other sender under way. The flood must last as long as they "
    "do, and what is stored of it is counted."
)
COMMAND = "python -m benchmarks.clients.neighbours '{…}'"
SENDERS, PAUSE_SEC = 8, 0.02
CLIENTS, STREAMS = 4, 128


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    sends = options.pick(250, 100)
    with running("daemon", "--max-unread", "10000000") as daemon:

        def send(name: str, number: int) -> dict[str, float]:
            took = measure_neighbours(NeighboursJob(daemon.address, SENDERS, sends, PAUSE_SEC))
            return {f"{name} p50": took.p50_ms, f"{name} p99": took.p99_ms}

        def send_in_flood(number: int) -> dict[str, float]:
            victim, begun = f"victim-{number}", time.monotonic()
            with h2load.flood(daemon.address, victim, CLIENTS, STREAMS):
                samples = send("flooded", number)
                stored = count_messages(daemon.address, victim)
            return samples | {"flood": stored / (time.monotonic() - begun)}

        rounds.take(options.rounds, partial(send, "quiet"), send_in_flood)
    figures = [
        Figure(f"{name}, one durable send, {part}", rounds.median(f"{name} {part}"), "ms", COMMAND)
        for name in ("quiet", "flooded")
        for part in ("p50", "p99")
    ]
    figures += [
        Figure("sends of the flood stored meanwhile", rounds.median("flood"), "sends/s", "h2load -c 4 -m 128 …"),
        Figure("p50 in a flood, of quiet", rounds.ratio("flooded p50", "quiet p50"), "×", COMMAND),
        Figure("p99 in a flood, of quiet", rounds.ratio("flooded p99", "quiet p99"), "×", COMMAND, at_most(5)),
    ]
    return new_result("fairness", QUESTION, METHOD, options, figures, rounds.samples)
