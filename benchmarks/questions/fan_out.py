"""fan_out — how many deliveries a second, when many listen to one mailbox?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients.streams import FanOutJob, measure_fan_out
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running

QUESTION = "How many deliveries a second to 1, 100 and 1,000 subscribers of one mailbox, beside an empty stream?"
METHOD = (
    "The same grpc.aio client opens the streams, up to 100 on a connection, then sends to the mailbox in bulk, and "
    "measures until every subscriber has every message. The echo server answers the sends and then streams the same "
    "events, serialized once. To see what the sends take of it, one subscriber also reads what was there before."
)
COMMAND = "python -m benchmarks.clients.streams '{…}'"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    deliveries = options.pick(20_000, 4_000)
    crowds = (1, 100, 1000)
    with running("echo") as echo, running("daemon") as daemon:

        def deliver(server: Server, crowd: int, number: int, *, replay: bool = False) -> dict[str, float]:
            agent = f"fan-{crowd}-{number}{'-replay' if replay else ''}"
            done = measure_fan_out(FanOutJob(server.address, agent, crowd, deliveries // crowd, replay))
            return {f"{server.target} {'replay' if replay else crowd}": done.deliveries_per_sec}

        for crowd in crowds:
            rounds.take(
                options.rounds,
                partial(deliver, echo, crowd),
                partial(deliver, daemon, crowd),
            )
        rounds.take(options.rounds, partial(deliver, daemon, 1, replay=True))
    figures: list[Figure] = []
    for crowd in crowds:
        name = f"{crowd:,} subscriber{'s' if crowd > 1 else ''}"
        ratio = rounds.ratio(f"daemon {crowd}", f"echo {crowd}")
        figures += [
            Figure(f"{name}, empty stream, deliveries", rounds.median(f"echo {crowd}"), "/s", COMMAND),
            Figure(f"{name}, deliveries", rounds.median(f"daemon {crowd}"), "/s", COMMAND),
            Figure(f"{name}, of the empty stream", ratio, "×", COMMAND, at_least(0.80)),
        ]
    replay = rounds.ratio("daemon replay", "echo 1")
    figures.append(Figure("1 subscriber that replays, of the empty stream", replay, "×", COMMAND))
    return new_result("fan_out", QUESTION, METHOD, options, figures, rounds.samples)
