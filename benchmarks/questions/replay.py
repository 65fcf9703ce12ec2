"""replay — how fast does one subscriber read what is stored?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients.bulk import BATCH
from benchmarks.clients.streams import FanOutJob, ReplayJob, measure_fan_out, measure_replay
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.stores import Mail, prepare

QUESTION = "How many stored messages per second does one subscriber read, in batches and one event at a time?"
METHOD = (
    "A grpc.aio client subscribes to a mailbox with 100,000 messages and measures until it has the last one, with up "
    f"to {BATCH} events per response or with one. It replays all of them from the beginning, and, of a second daemon, "
    "the unread ones. The SDK does the same and converts each event. The empty stream is the echo server's: the same "
    "events, serialized beforehand, one per response and in batches."
)
COMMAND = "python -m benchmarks.clients.streams '{…}'"
AGENT = "stored"
FLAGS = ("--max-unread", "10000000")


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    messages, echoed = options.pick(100_000, 10_000), options.pick(20_000, 5_000)
    with (
        running("echo") as echo,
        running("daemon", *FLAGS, data=prepare(Mail(AGENT, read=messages))) as daemon,
        running("daemon", *FLAGS, data=prepare(Mail(AGENT, unread=messages))) as full,
    ):

        def stream(name: str, max_batch: int, round_number: int) -> dict[str, float]:
            job = FanOutJob(echo.address, f"{name}-{round_number}", 1, echoed, max_batch, backlog=True)
            return {name: measure_fan_out(job).deliveries_per_sec}

        def replay(server: Server, name: str, max_batch: int, _: int, *, sdk: bool = False) -> dict[str, float]:
            job = ReplayJob(server.address, AGENT, messages, max_batch, unread=server is full, sdk=sdk)
            return {name: measure_replay(job).deliveries_per_sec}

        rounds.run(
            options.rounds,
            partial(stream, "echo", 0),
            partial(stream, "echo, batches", BATCH),
            partial(replay, daemon, "one", 0),
            partial(replay, daemon, "batches", BATCH),
            partial(replay, daemon, "sdk", BATCH, sdk=True),
            partial(replay, full, "unread, one", 0),
            partial(replay, full, "unread, batches", BATCH),
        )
    return new_result("replay", QUESTION, METHOD, options, _figures(rounds, messages), rounds.samples)


def _figures(rounds: Rounds, messages: int) -> list[Figure]:
    def rate(name: str, sample: str) -> Figure:
        return Figure(name, rounds.median(sample), "/s", COMMAND)

    stored, unread = f"{messages:,} messages", f"{messages:,} unread messages"
    return [
        rate("empty stream, one event per response", "echo"),
        rate(f"empty stream, {BATCH} events per response", "echo, batches"),
        rate(f"{stored}, one event per response", "one"),
        rate(f"{stored}, in batches", "batches"),
        rate(f"{stored}, by the SDK", "sdk"),
        rate(f"{unread}, one event per response", "unread, one"),
        rate(f"{unread}, in batches", "unread, batches"),
        Figure(
            f"{stored}, in batches, vs. one event per response",
            rounds.ratio("batches", "one"),
            "×",
            COMMAND,
            at_least(3),
        ),
        Figure(
            f"{unread}, in batches, vs. one event per response",
            rounds.ratio("unread, batches", "unread, one"),
            "×",
            COMMAND,
            at_least(3),
        ),
        Figure(f"{stored}, in batches, vs. the empty stream", rounds.ratio("batches", "echo"), "×", COMMAND),
        Figure(
            f"{stored}, in batches, vs. the empty stream with the same batches",
            rounds.ratio("batches", "echo, batches"),
            "×",
            COMMAND,
        ),
    ]
