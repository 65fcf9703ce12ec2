"""fan_out — how many deliveries per second to many subscribers of one mailbox?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients.streams import FanOutJob, measure_fan_out
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running

QUESTION = (
    "How many deliveries per second to 1, 100 and 1,000 subscribers of one mailbox, compared with an empty stream?"
)
METHOD = (
    "One grpc.aio client opens the streams, up to 100 per connection, sends to the mailbox in bulk, and measures "
    "until every subscriber has every message. The echo server answers the sends and then streams the same events, "
    "serialized once. To show the share of the sends, one subscriber also reads messages that were stored beforehand."
)
COMMAND = "python -m benchmarks.clients.streams '{…}'"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    deliveries = options.pick(20_000, 4_000)
    subscriber_counts = (1, 100, 1000)
    with running("echo") as echo, running("daemon") as daemon:

        def deliver(server: Server, subscribers: int, round_number: int, *, replay: bool = False) -> dict[str, float]:
            agent = f"fan-{subscribers}-{round_number}{'-replay' if replay else ''}"
            done = measure_fan_out(FanOutJob(server.address, agent, subscribers, deliveries // subscribers, replay))
            return {f"{server.target} {'replay' if replay else subscribers}": done.deliveries_per_sec}

        for subscribers in subscriber_counts:
            rounds.run(
                options.rounds,
                partial(deliver, echo, subscribers),
                partial(deliver, daemon, subscribers),
            )
        rounds.run(options.rounds, partial(deliver, daemon, 1, replay=True))
    figures: list[Figure] = []
    for subscribers in subscriber_counts:
        name = f"{subscribers:,} subscriber{'s' if subscribers > 1 else ''}"
        ratio = rounds.ratio(f"daemon {subscribers}", f"echo {subscribers}")
        figures += [
            Figure(f"{name}, empty stream, deliveries", rounds.median(f"echo {subscribers}"), "/s", COMMAND),
            Figure(f"{name}, deliveries", rounds.median(f"daemon {subscribers}"), "/s", COMMAND),
            Figure(f"{name}, vs. the empty stream", ratio, "×", COMMAND, at_least(0.80)),
        ]
    replay = rounds.ratio("daemon replay", "echo 1")
    figures.append(Figure("1 subscriber, replay, vs. the empty stream", replay, "×", COMMAND))
    return new_result("fan_out", QUESTION, METHOD, options, figures, rounds.samples)
