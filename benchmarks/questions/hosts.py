"""hosts — what does mail between two hosts cost?"""

__all__ = ["measure"]

import time
from functools import partial

from benchmarks import procfs
from benchmarks.clients import nats_client
from benchmarks.clients.broker_job import Contender, measure_rate
from benchmarks.clients.bulk import BATCH, BulkJob, send_bulk
from benchmarks.clients.calls import CallsJob, measure_calls
from benchmarks.clients.control import count_messages, wait_until
from benchmarks.clients.crossings import CrossingJob, measure_crossings
from benchmarks.clients.nats_pulls import PullJob, measure_pulls
from benchmarks.clients.pushes import PushJob, measure_pushes
from benchmarks.process_names import name_processes
from benchmarks.results import Figure, Options, Result, at_least, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.brokers import Broker, nats_server
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.hosts import HUB_COMMAND, UNREAD, Host, Hub, running_hub, send_one
from benchmarks.servers.process import data_directory

QUESTION = "What does mail between two hosts cost, compared with mail on one host, and with JetStream itself?"
METHOD = (
    "Two daemons, a and b, and their hub run on this machine and share its cores with the clients. The hub is one "
    "server (one copy of each stream) that syncs before it acknowledges. A send to b is measured with the hub running "
    "and with the hub stopped, beside a send on a daemon without a hub. Push is the time from the start of a send on "
    "a until a subscriber on b has the message; beside it, in the same rounds, a publish to a JetStream of the same "
    "configuration until a pull has the message, plus two local sends. In bulk, the clock runs from the first send on "
    "a until b has stored the last message; beside it, the same number of messages goes through that JetStream, one "
    "publish for each and 32 at a time, to a consumer that writes their files. With a backlog the clock runs from the "
    "moment when b serves again; what it has stored by then does not count. Sends and pushes within a are measured "
    "while such a backlog drains, and again when it has. After an outage the clock runs from the start of the hub's "
    "server."
)
SEND = "python -m benchmarks.clients.calls '{…}'"
CROSS = "python -m benchmarks.clients.crossings '{…}'"
PULL = "python -m benchmarks.clients.nats_pulls '{…}'"
PUSH = "python -m benchmarks.clients.pushes '{…}'"
STREAM = "python -m benchmarks.clients.nats_client '{…}'"
BULK = "python -m benchmarks.clients.bulk '{…}'"
PAUSE_SEC = 0.005
STORED_SEC = 120.0
SETTLE_SEC = 5.0


def measure(options: Options) -> Result:
    """Runs the benchmark.

    Raises:
        RuntimeError: a client failed.
        TimeoutError: mail did not arrive in time.
    """
    rounds = Rounds()
    with running("daemon", *UNREAD) as plain, nats_server() as broker, running_hub("a", "b") as hub:
        a, b = hub.join("a"), hub.join("b")
        with a.running() as sending:
            with b.running() as receiving:
                a.wait_acquainted("b")
                b.wait_acquainted("a")
                _measure_sends(options, rounds, plain, sending, receiving, hub)
                _measure_pushes(options, rounds, broker, sending, receiving)
                _measure_bulk(options, rounds, broker, plain, sending, receiving)
                _measure_outages(options, rounds, hub, sending, receiving)
                relay = _measure_relay(options, sending)
            _measure_backlogs(options, rounds, plain, sending, b)
            _measure_draining(options, rounds, sending, b)
    figures = [*_sends_and_pushes(rounds), *_beside_a_backlog(rounds), *_flows(rounds), *relay]
    return new_result("hosts", QUESTION, METHOD, options, figures, rounds.samples)


def _measure_sends(
    options: Options, rounds: Rounds, plain: Server, sending: Server, receiving: Server, hub: Hub
) -> None:
    calls = options.pick(1000, 200)

    def send(name: str, address: str, host: str, round_number: int) -> dict[str, float]:
        took = measure_calls(CallsJob(address, f"send-{round_number}{host}", calls))
        return {f"{name} p50": took.p50_ms, f"{name} p99": took.p99_ms}

    def send_without_hub(round_number: int) -> dict[str, float]:
        hub.stop()
        try:
            took = send("hub down", sending.address, ":b", round_number)
        finally:
            hub.start()
        _wait_for(receiving.address, f"send-{round_number}", 2 * calls)  # before the next round
        return took

    rounds.run(
        options.rounds,
        partial(send, "local", plain.address, ""),
        partial(send, "hub up", sending.address, ":b"),
        send_without_hub,
    )


def _measure_pushes(options: Options, rounds: Rounds, broker: Broker, sending: Server, receiving: Server) -> None:
    pushes = options.pick(500, 100)

    def cross(round_number: int) -> dict[str, float]:
        job = CrossingJob(sending.address, receiving.address, f"push-{round_number}", "b", pushes, PAUSE_SEC)
        took = measure_crossings(job)
        return {"push p50": took.p50_ms, "push p99": took.p99_ms}

    def pull(round_number: int) -> dict[str, float]:
        took = measure_pulls(PullJob(broker.address, f"pull-{round_number}", pushes, PAUSE_SEC))
        return {"JetStream p50": took.p50_ms, "JetStream p99": took.p99_ms}

    rounds.run(options.rounds, pull, cross)


def _measure_bulk(
    options: Options, rounds: Rounds, broker: Broker, plain: Server, sending: Server, receiving: Server
) -> None:
    messages = options.pick(20_000, 3_000)
    contender = Contender(nats_client.MODULE, broker.address, data_directory())

    def local(round_number: int) -> dict[str, float]:
        return {"local bulk": send_bulk(BulkJob(plain.address, f"bulk-{round_number}", messages)).rate_per_sec}

    def cross(round_number: int) -> dict[str, float]:
        agent = f"bulk-{round_number}"
        started = time.perf_counter()
        send_bulk(BulkJob(sending.address, f"{agent}:b", messages))
        _wait_for(receiving.address, agent, messages + BATCH)
        return {"bulk": (messages + BATCH) / (time.perf_counter() - started)}

    def stream(round_number: int) -> dict[str, float]:
        return {"JetStream bulk": measure_rate(contender, f"stream-{round_number}", messages, "many")}

    rounds.run(options.rounds, local, cross, stream)


def _measure_outages(options: Options, rounds: Rounds, hub: Hub, sending: Server, receiving: Server) -> None:
    def outage(round_number: int) -> dict[str, float]:
        agent = f"outage-{round_number}"
        hub.stop()
        send_one(sending.address, f"{agent}:b")
        time.sleep(SETTLE_SEC)  # the relays have noticed, and try again
        started = time.perf_counter()
        hub.start()
        _wait_for(receiving.address, agent, 1)
        return {"outage": time.perf_counter() - started}

    rounds.run(options.rounds, outage)


def _measure_backlogs(options: Options, rounds: Rounds, plain: Server, sending: Server, receiver: Host) -> None:
    messages = options.pick(10_000, 2_000)

    def local(round_number: int) -> dict[str, float]:
        return {"own bulk": send_bulk(BulkJob(plain.address, f"own-{round_number}", messages)).rate_per_sec}

    def drain(round_number: int) -> dict[str, float]:
        agent = f"backlog-{round_number}"
        send_bulk(BulkJob(sending.address, f"{agent}:b", messages))
        time.sleep(SETTLE_SEC)  # what the hub takes is there by then
        with receiver.running() as receiving:
            started = time.perf_counter()
            before = count_messages(receiving.address, agent)
            _wait_for(receiving.address, agent, messages + BATCH)
            return {"backlog": (messages + BATCH - before) / (time.perf_counter() - started)}

    rounds.run(options.rounds, local, drain)


def _measure_draining(options: Options, rounds: Rounds, sending: Server, receiver: Host) -> None:
    messages, calls, pushes = options.pick(40_000, 15_000), options.pick(400, 100), options.pick(200, 50)

    def local(when: str, round_number: int) -> dict[str, float]:
        sends = measure_calls(CallsJob(sending.address, f"send-{when}-{round_number}", calls))
        pushed = measure_pushes(PushJob(sending.address, f"push-{when}-{round_number}", pushes))
        return {
            f"{when}, send p50": sends.p50_ms,
            f"{when}, send p99": sends.p99_ms,
            f"{when}, push p50": pushed.p50_ms,
            f"{when}, push p99": pushed.p99_ms,
        }

    def drain(round_number: int) -> dict[str, float]:
        agent = f"draining-{round_number}"
        send_bulk(BulkJob(sending.address, f"{agent}:b", messages))
        time.sleep(SETTLE_SEC)
        with receiver.running() as receiving:
            busy = local("draining", round_number)
            if count_messages(receiving.address, agent) >= messages + BATCH:
                raise RuntimeError(f"{messages:,} messages arrived before the local sends had ended: send more")
            _wait_for(receiving.address, agent, messages + BATCH)
            time.sleep(SETTLE_SEC)  # for the receipts
            return busy | local("drained", round_number)

    rounds.run(options.rounds, drain)


def _measure_relay(options: Options, server: Server) -> list[Figure]:
    span_sec = options.pick(60, 5)
    time.sleep(SETTLE_SEC)
    (relay,) = (pid for pid, name in name_processes(server).items() if name == "relay")
    before = procfs.usage_of(relay)
    time.sleep(span_sec)
    after = procfs.usage_of(relay)
    memory = procfs.memory_of(relay)
    command = f"cat /proc/PID/task/*/schedstat, twice, {span_sec} s apart"
    cpu = 100 * (after.cpu_sec - before.cpu_sec) / span_sec
    return [
        Figure("relay, idle, CPU", cpu, "% of a core", command, at_most(0.1)),
        Figure("relay, PSS", memory.pss_kib / 1024, "MiB", "cat /proc/PID/smaps_rollup", at_most(45)),
        Figure("relay, RSS", memory.rss_kib / 1024, "MiB", "cat /proc/PID/smaps_rollup"),
    ]


def _sends_and_pushes(rounds: Rounds) -> list[Figure]:
    local = ("local p50", "local p50")
    return [
        Figure("send, on one host, p50", rounds.median("local p50"), "ms", SEND),
        Figure("send, on one host, p99", rounds.median("local p99"), "ms", SEND),
        Figure("send, to another host, p50", rounds.median("hub up p50"), "ms", SEND),
        Figure("send, to another host, p99", rounds.median("hub up p99"), "ms", SEND),
        Figure("send, hub down, p50", rounds.median("hub down p50"), "ms", SEND),
        Figure("send, to another host, p50, vs. on one host", rounds.ratio("hub up p50", "local p50"), "×", SEND),
        Figure(
            "send, hub down, p50, vs. on one host",
            rounds.ratio("hub down p50", "local p50"),
            "×",
            SEND,
            at_most(1.10),
        ),
        Figure("send, hub down, p99, vs. on one host", rounds.ratio("hub down p99", "local p99"), "×", SEND),
        Figure("JetStream, publish to pull, p50", rounds.median("JetStream p50"), "ms", PULL),
        Figure("JetStream, publish to pull, p99", rounds.median("JetStream p99"), "ms", PULL),
        Figure("push to another host, p50", rounds.median("push p50"), "ms", CROSS),
        Figure("push to another host, p99", rounds.median("push p99"), "ms", CROSS),
        Figure(
            "push, p50, vs. JetStream + 2 sends",
            rounds.ratio("push p50", "JetStream p50", *local),
            "×",
            CROSS,
            at_most(1.5),
        ),
        Figure(
            "push, p99, vs. JetStream + 2 sends",
            rounds.ratio("push p99", "JetStream p50", *local),
            "×",
            CROSS,
            at_most(4),
        ),
    ]


def _beside_a_backlog(rounds: Rounds) -> list[Figure]:
    figures: list[Figure] = []
    for what, command in (("send", SEND), ("push", PUSH)):
        for share, aim in (("p50", None), ("p99", at_most(1.5))):
            name = f"{what} {share}"
            figures += [
                Figure(f"{what} while a backlog drains, {share}", rounds.median(f"draining, {name}"), "ms", command),
                Figure(
                    f"{what} while a backlog drains, {share}, vs. afterwards",
                    rounds.ratio(f"draining, {name}", f"drained, {name}"),
                    "×",
                    command,
                    aim,
                ),
            ]
    return figures


def _flows(rounds: Rounds) -> list[Figure]:
    return [
        Figure("bulk, on one host, messages", rounds.median("local bulk"), "/s", BULK),
        Figure("bulk, to another host, messages", rounds.median("bulk"), "/s", BULK),
        Figure("bulk, to another host, vs. on one host", rounds.ratio("bulk", "local bulk"), "×", BULK, at_least(0.4)),
        Figure("JetStream, 32 at a time, messages", rounds.median("JetStream bulk"), "/s", STREAM),
        Figure(
            "bulk, to another host, vs. JetStream, 32 at a time",
            rounds.ratio("bulk", "JetStream bulk"),
            "×",
            BULK,
            at_least(0.6),
        ),
        Figure("backlog, messages", rounds.median("backlog"), "/s", HUB_COMMAND),
        Figure("backlog, vs. bulk on one host", rounds.ratio("backlog", "own bulk"), "×", HUB_COMMAND, at_least(0.6)),
        Figure("outage of the hub, until the first message", rounds.median("outage"), "s", HUB_COMMAND, at_most(5)),
    ]


def _wait_for(address: str, agent: str, messages: int) -> None:
    wait_until(
        lambda: count_messages(address, agent) >= messages, f"{agent} has {messages:,} messages", STORED_SEC, 0.02
    )
