"""brokers — how do NATS JetStream and Redis Streams compare at the same job?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients import mailroom_client, nats_client, redis_client, threads_client, unary_client
from benchmarks.clients.broker_job import Contender, Mode, measure_rate
from benchmarks.results import Aim, Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.brokers import nats_server, redis_server
from benchmarks.servers.daemon import running
from benchmarks.servers.process import data_directory

QUESTION = (
    "How many messages per second become durable, announced and a JSON file, compared with two brokers doing the same?"
)
METHOD = (
    "One publisher and one consumer, each a Python asyncio process. Mailroom: its SDK (in bulk, the generated stub) "
    "and a subscriber; beside it the blocking SDK in threads, and the generated stub with a unary call for each "
    "message, as the SDK made it before its sends shared a stream. JetStream: nats-py; Redis Streams: redis-py; each "
    "with a consumer that writes the file (temporary name, rename) and acknowledges. Both brokers sync before they "
    "acknowledge. Timed from the first send until the last file exists and the last message has arrived; the files "
    "are counted. In bulk, four batches of 100 are in flight."
)
COMMAND = "python -m benchmarks.clients.{mailroom,threads,unary,nats,redis}_client '{…}'"
NAMES: dict[Mode, str] = {
    "one": "1 at a time",
    "many": "32 at a time",
    "most": "256 at a time",
    "bulk": "in bulk",
}
PEERS = ("JetStream", "Redis")
THREADS, UNARY = "Mailroom, in threads", "Mailroom, unary"
SINGLES = (THREADS, UNARY)  # which take no part in bulk
AIMS: dict[tuple[str, Mode], Aim] = {
    (UNARY, "one"): at_least(1.2),
    ("JetStream", "many"): at_least(1.6),
    ("JetStream", "most"): at_least(2.2),
    ("JetStream", "bulk"): at_least(1.0),
    ("Redis", "bulk"): at_least(0.8),
}


def measure(options: Options) -> Result:
    """Runs the benchmark.

    Raises:
        RuntimeError: a client failed, or the number of files is not the number of messages.
    """
    rounds = Rounds()
    messages: dict[Mode, int] = {
        "one": options.pick(1_000, 200),
        "many": options.pick(6_000, 1_000),
        "most": options.pick(12_000, 2_000),
        "bulk": options.pick(20_000, 3_000),
    }
    with running("daemon", "--max-unread", "10000000") as daemon, nats_server() as nats, redis_server() as redis:
        inbox = daemon.data / "root" / "inbox"
        contenders = {
            "Mailroom": Contender(mailroom_client.MODULE, daemon.address, inbox),
            THREADS: Contender(threads_client.MODULE, daemon.address, inbox),
            UNARY: Contender(unary_client.MODULE, daemon.address, inbox),
            "JetStream": Contender(nats_client.MODULE, nats.address, data_directory()),
            "Redis": Contender(redis_client.MODULE, redis.address, data_directory()),
        }

        def run(name: str, mode: Mode, round_number: int) -> dict[str, float]:
            agent = f"{mode}-{round_number}-{list(contenders).index(name)}"
            return {f"{name} {mode}": measure_rate(contenders[name], agent, messages[mode], mode)}

        for mode in messages:
            rounds.run(options.rounds, *(partial(run, name, mode) for name in _contenders_of(mode)))
    return new_result("brokers", QUESTION, METHOD, options, _figures(rounds), rounds.samples)


def _figures(rounds: Rounds) -> list[Figure]:
    rates = [
        Figure(f"{name}, {how}, files", rounds.median(f"{name} {mode}"), "/s", COMMAND)
        for mode, how in NAMES.items()
        for name in _contenders_of(mode)
    ]
    ratios = [
        Figure(
            f"Mailroom, {how}, vs. {name}",
            rounds.ratio(f"Mailroom {mode}", f"{name} {mode}"),
            "×",
            COMMAND,
            AIMS.get((name, mode)),
        )
        for mode, how in NAMES.items()
        for name in _contenders_of(mode)
        if name not in ("Mailroom", THREADS)
    ]
    ratios += [
        Figure(f"{THREADS}, {how}, vs. {name}", rounds.ratio(f"{THREADS} {mode}", f"{name} {mode}"), "×", COMMAND)
        for mode, how in NAMES.items()
        if mode != "bulk"
        for name in (UNARY, *PEERS)
    ]
    return rates + ratios


def _contenders_of(mode: Mode) -> tuple[str, ...]:
    return ("Mailroom", *(() if mode == "bulk" else SINGLES), *PEERS)
