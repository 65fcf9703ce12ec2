"""brokers — the same job with NATS JetStream and with Redis Streams?"""

__all__ = ["measure"]

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.clients import mailroom_client, nats_client, process, redis_client
from benchmarks.clients.broker_job import BrokerJob, Mode, Span
from benchmarks.results import Aim, Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.brokers import nats_server, redis_server
from benchmarks.servers.daemon import running
from benchmarks.servers.process import data_directory

QUESTION = "How many messages a second become durable, announced and a JSON file, beside two brokers that do the same?"
METHOD = (
    "One publisher and one consumer, each a Python asyncio process: for the mail room its own SDK (in bulk the "
    "contract's stub) and a subscriber; for JetStream nats-py, and for Redis Streams redis-py, each with a consumer "
    "that writes the file (temporary name, rename) and acknowledges. Both brokers sync before they answer. The clock "
    "runs from the first send until the last file is there and the last message has arrived; the files are counted. "
    "In bulk, four batches of 100 are under way."
)
COMMAND = "python -m benchmarks.clients.{mailroom,nats,redis}_client '{…}'"
NAMES: dict[Mode, str] = {"one": "1 at a time", "many": "32 at a time", "bulk": "in bulk"}
AIMS: dict[tuple[str, Mode], Aim] = {
    ("JetStream", "many"): at_least(1.0),
    ("JetStream", "bulk"): at_least(1.0),
    ("Redis", "bulk"): at_least(1.0),
}


@dataclass(frozen=True, slots=True)
class _Contender:
    """Who does the job: the module of its clients, its address, and where its files are."""

    module: str
    address: str
    inbox: Path


def measure(options: Options) -> Result:
    """Runs the benchmark.

    Raises:
        RuntimeError: a client failed, or there are not as many files as messages.
    """
    rounds = Rounds()
    numbers: dict[Mode, int] = {
        "one": options.pick(1_000, 200),
        "many": options.pick(6_000, 1_000),
        "bulk": options.pick(20_000, 3_000),
    }
    with running("daemon", "--max-unread", "10000000") as daemon, nats_server() as nats, redis_server() as redis:
        contenders = {
            "mail room": _Contender(mailroom_client.MODULE, daemon.address, daemon.data / "root" / "inbox"),
            "JetStream": _Contender(nats_client.MODULE, nats.address, data_directory()),
            "Redis": _Contender(redis_client.MODULE, redis.address, data_directory()),
        }

        def run(name: str, mode: Mode, number: int) -> dict[str, float]:
            return {f"{name} {mode}": _rate(contenders[name], f"{mode}-{number}", numbers[mode], mode)}

        for mode in numbers:
            rounds.take(options.rounds, *(partial(run, name, mode) for name in contenders))
    figures = [
        Figure(f"{name}, {how}, files", rounds.median(f"{name} {mode}"), "/s", COMMAND)
        for mode, how in NAMES.items()
        for name in contenders
    ]
    figures += [
        Figure(
            f"mail room, {how}, of {name}",
            rounds.ratio(f"mail room {mode}", f"{name} {mode}"),
            "×",
            COMMAND,
            AIMS.get((name, mode)),
        )
        for mode, how in NAMES.items()
        for name in ("JetStream", "Redis")
    ]
    return new_result("brokers", QUESTION, METHOD, options, figures, rounds.samples)


def _rate(one: _Contender, agent: str, messages: int, mode: Mode) -> float:
    consume = BrokerJob("consume", one.address, agent, messages, mode, str(one.inbox))
    publish = BrokerJob("publish", one.address, agent, messages, mode)
    with process.started(one.module, consume, Span) as consumer:
        published = process.run(one.module, publish, Span)
        consumed = consumer.answer()
    if (found := sum(1 for _ in (one.inbox / agent).glob("*.json"))) != messages:
        raise RuntimeError(f"{one.module}, {agent}: {messages} messages, {found} files")
    return messages / (max(published.ended_sec, consumed.ended_sec) - published.started_sec)
