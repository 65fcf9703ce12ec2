"""sends — how many durable sends a second, beside an empty echo of the same messages?

Owns the interleaving and the proof that what was counted was really sent; load.py owns the load.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.client import count_messages
from benchmarks.daemon import Server, running
from benchmarks.echo_server import reply_to
from benchmarks.load import FRAME_HEADER_BYTES, H2Load, calls_one_at_a_time, h2load, h2load_command, request_for
from benchmarks.results import Figure, Options, Result, Samples, new_result

__all__ = ["measure"]

QUESTION = "How many durable sends a second does the daemon do, beside an empty gRPC echo of the same messages?"
METHOD = (
    "Both servers run all the time; in each round every load goes to the echo server, then to the daemon. Rates are "
    "medians over the rounds, ratios medians of the ratios within each round. 200 bytes of content, TCP on loopback, "
    "no idempotency key. Each run sends to a mailbox of its own, and afterwards the daemon must count in it exactly "
    "what was sent."
)
CLIENTS, STREAMS = 8, 32  # connections, and calls under way on each


@dataclass(frozen=True, slots=True)
class _Plan:
    """How much is sent."""

    rounds: int
    many: int  # requests with 8 x 32 under way
    single: int  # requests with one under way
    warm_up: int


FULL = _Plan(rounds=5, many=20_000, single=2_000, warm_up=2_000)
QUICK = _Plan(rounds=3, many=4_000, single=500, warm_up=500)


def measure(options: Options) -> Result:
    """Runs the benchmark.

    Raises:
        RuntimeError: an answer was an error, or the daemon counts another number of messages than was sent.
    """
    plan = QUICK if options.quick else FULL
    samples: Samples = defaultdict(list)
    with running("echo") as echo, running(options.target) as subject:
        servers = {"echo": echo, "daemon": subject}
        for server in servers.values():
            h2load(server.address, "warm-up", plan.warm_up, CLIENTS, STREAMS)
        for number in range(plan.rounds):
            for load_name, load in LOADS.items():
                for server_name, server in servers.items():
                    for what, value in load(server, f"{load_name}-{number}", plan).items():
                        samples[f"{server_name} {what}"].append(value)
    return new_result("sends", QUESTION, METHOD, options, _figures(samples, plan), dict(samples))


def _many(server: Server, recipient: str, plan: _Plan) -> dict[str, float]:
    done = h2load(server.address, recipient, plan.many, CLIENTS, STREAMS)
    _verify(server, recipient, done)
    return {"many": done.rate_per_sec}


def _single(server: Server, recipient: str, plan: _Plan) -> dict[str, float]:
    done = h2load(server.address, recipient, plan.single, 1, 1)
    _verify(server, recipient, done)
    return {"single": done.rate_per_sec}


def _calls(server: Server, recipient: str, plan: _Plan) -> dict[str, float]:
    calls = calls_one_at_a_time(server.address, recipient, plan.single)
    return {"calls": calls.rate_per_sec, "p50": calls.p50_ms, "p99": calls.p99_ms}


LOADS: dict[str, Callable[[Server, str, _Plan], dict[str, float]]] = {
    "many": _many,
    "single": _single,
    "calls": _calls,
}


def _verify(server: Server, recipient: str, done: H2Load) -> None:
    """Proves that every request was answered with OK, which h2load itself does not see."""
    if server.target == "echo":
        expected = done.requests * (FRAME_HEADER_BYTES + reply_to(request_for(recipient)).ByteSize())
        found = done.data_bytes
    else:
        expected, found = done.requests, count_messages(server.address, recipient)
    if found != expected:
        raise RuntimeError(f"{server.target}, {recipient}: expected {expected}, found {found}")


def _figures(samples: Samples, plan: _Plan) -> list[Figure]:
    url = "http://HOST:PORT/mailroom.v1.MailboxService/SendMessage"
    many = " ".join(h2load_command(url, "body.bin", plan.many, CLIENTS, STREAMS))
    single = " ".join(h2load_command(url, "body.bin", plan.single, 1, 1))
    calls = f"python -m benchmarks.load HOST:PORT RECIPIENT {plan.single}"
    figures = [
        *_compared("8 x 32 calls at a time", "many", many, samples, aim="≥ 0.45"),
        *_compared("one call at a time", "single", single, samples, aim="≥ 0.45"),
        *_compared("one call at a time, grpc.aio client", "calls", calls, samples, aim=""),
    ]
    for server in ("echo", "daemon"):
        for percentile in ("p50", "p99"):
            value = statistics.median(samples[f"{server} {percentile}"])
            figures.append(Figure(f"{server}, {percentile} of one call, grpc.aio client", value, "ms", calls))
    return figures


def _compared(name: str, load: str, command: str, samples: Samples, aim: str) -> list[Figure]:
    echo, daemon = samples[f"echo {load}"], samples[f"daemon {load}"]
    ratio = statistics.median(ours / theirs for ours, theirs in zip(daemon, echo, strict=True))
    return [
        Figure(f"echo, {name}", statistics.median(echo), "sends/s", command),
        Figure(f"daemon, {name}", statistics.median(daemon), "sends/s", command),
        Figure(f"ratio, {name}", ratio, "of the echo", command, aim),
    ]
