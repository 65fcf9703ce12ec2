"""fan_out — how many deliveries per second to many subscribers of one mailbox?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients.bulk import BATCH
from benchmarks.clients.streams import FanOutJob, measure_fan_out
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running

QUESTION = (
    "How many deliveries per second to 1, 100 and 1,000 subscribers of one mailbox, compared with an empty stream?"
)
METHOD = (
    "One grpc.aio client opens the streams, up to 100 per connection, sends to the mailbox in bulk, and measures "
    f"until every subscriber has every message. The subscribers take up to {BATCH} events per response, as the SDK "
    "does, or one. With a backlog, the messages are sent before the subscribers connect, and the time includes "
    "connecting. The echo server answers the sends and then streams the same events, serialized once: one per response "
    "(the empty stream), or in the same batches."
)
COMMAND = "python -m benchmarks.clients.streams '{…}'"
SUBSCRIBERS = (1, 100, 1000)


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    deliveries = options.pick(20_000, 4_000)
    with running("echo") as echo, running("daemon") as daemon:

        def deliver(
            server: Server, subscribers: int, name: str, max_batch: int, round_number: int, *, backlog: bool = False
        ) -> dict[str, float]:
            agent = f"{server.target}-{subscribers}-{name.replace(' ', '-')}-{round_number}"
            job = FanOutJob(server.address, agent, subscribers, deliveries // subscribers, max_batch, backlog)
            return {f"{subscribers} {server.target} {name}": measure_fan_out(job).deliveries_per_sec}

        for subscribers in SUBSCRIBERS:
            rounds.run(
                options.rounds,
                partial(deliver, echo, subscribers, "one", 0),
                partial(deliver, echo, subscribers, "batches", BATCH),
                partial(deliver, daemon, subscribers, "one", 0),
                partial(deliver, daemon, subscribers, "batches", BATCH),
                partial(deliver, echo, subscribers, "backlog", 0, backlog=True),
                partial(deliver, daemon, subscribers, "backlog", BATCH, backlog=True),
            )
    figures = [figure for subscribers in SUBSCRIBERS for figure in _figures(rounds, subscribers)]
    return new_result("fan_out", QUESTION, METHOD, options, figures, rounds.samples)


def _figures(rounds: Rounds, subscribers: int) -> list[Figure]:
    name = f"{subscribers:,} subscriber{'s' if subscribers > 1 else ''}"

    def ratio(ours: str, theirs: str) -> float:
        return rounds.ratio(f"{subscribers} daemon {ours}", f"{subscribers} echo {theirs}")

    return [
        Figure(f"{name}, empty stream, deliveries", rounds.median(f"{subscribers} echo one"), "/s", COMMAND),
        Figure(f"{name}, deliveries", rounds.median(f"{subscribers} daemon batches"), "/s", COMMAND),
        Figure(f"{name}, vs. the empty stream", ratio("batches", "one"), "×", COMMAND, at_least(0.80)),
        Figure(f"{name}, backlog, vs. the empty stream", ratio("backlog", "backlog"), "×", COMMAND, at_least(0.80)),
        Figure(f"{name}, one event per response, vs. the empty stream", ratio("one", "one"), "×", COMMAND),
        Figure(f"{name}, vs. the empty stream with the same batches", ratio("batches", "batches"), "×", COMMAND),
    ]
