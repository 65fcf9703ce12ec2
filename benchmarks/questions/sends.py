"""sends — how many durable sends per second, with one message per call and many concurrent calls?"""

__all__ = ["measure"]

import time
from collections.abc import Callable

from benchmarks.clients import h2load
from benchmarks.clients.control import count_messages
from benchmarks.clients.messages import FRAME_HEADER_BYTES, request_for
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.bare_loop import wait_until_written
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.echo_server import reply_to

QUESTION = "How many durable sends per second in unary calls of 200 bytes, compared with the limits of this machine?"
METHOD = (
    "h2load sends to each server in turn. The floor is an empty echo server with a bare loop in a second process, "
    "which commits and files the answered messages, all that have accumulated at a time; it is timed until the last "
    "file exists. With 128 rows per commit the loop leaves more of the two cores to the echo server, but no response "
    "could wait for it. Afterwards the daemon must count exactly the messages sent to the run's own mailbox."
)
CLIENTS, STREAMS = 8, 32
WARM_UP = 2000


def measure(options: Options) -> Result:
    """Runs the benchmark.

    Raises:
        RuntimeError: a response was an error, or the daemon does not count exactly the messages sent.
    """
    rounds = Rounds()
    requests = options.pick(20_000, 4_000)
    with (
        running("echo") as echo,
        running("floor") as floor,
        running("floor", "--rows", "128") as wide_floor,
        running("daemon") as daemon,
    ):
        servers = {"echo": echo, "floor": floor, "floor, 128 rows per commit": wide_floor, "daemon": daemon}
        rounds.run(1, *(_contender(f"warm-up {name}", server, WARM_UP) for name, server in servers.items()))
        rounds.run(options.rounds, *(_contender(name, server, requests) for name, server in servers.items()))
    command = " ".join(
        h2load.command_of("http://HOST:PORT/mailroom.v1.MailboxService/SendMessage", "body", requests, CLIENTS, STREAMS)
    )
    figures = [Figure(f"{name}, sends", rounds.median(name), "/s", command) for name in servers]
    figures += [
        Figure("durable sends, vs. the floor", rounds.ratio("daemon", "floor"), "×", command, at_least(0.80)),
        Figure(
            "durable sends, vs. the floor with 128 rows per commit",
            rounds.ratio("daemon", "floor, 128 rows per commit"),
            "×",
            command,
        ),
        Figure("durable sends, vs. the plain echo", rounds.ratio("daemon", "echo"), "×", command),
    ]
    return new_result("sends", QUESTION, METHOD, options, figures, rounds.samples)


def _contender(name: str, server: Server, requests: int) -> Callable[[int], dict[str, float]]:
    written = 0

    def send(round_number: int) -> dict[str, float]:
        nonlocal written
        recipient = f"{name.replace(' ', '-').replace(',', '')}-{round_number}"
        done = h2load.send(server.address, recipient, requests, CLIENTS, STREAMS)
        took = requests / done.rate_per_sec
        if server.target == "floor":
            answered = time.monotonic()
            written += requests
            wait_until_written(server.data, written)
            took += time.monotonic() - answered
        _verify(server, recipient, done)
        return {name: requests / took}

    return send


def _verify(server: Server, recipient: str, done: h2load.Done) -> None:
    """Checks that every request was answered with OK, which h2load cannot see."""
    if server.target == "daemon":
        expected, actual = done.requests, count_messages(server.address, recipient)
    else:
        expected = done.requests * (FRAME_HEADER_BYTES + reply_to(request_for(recipient)).ByteSize())
        actual = done.data_bytes
    if actual != expected:
        raise RuntimeError(f"{server.target}, {recipient}: expected {expected}, got {actual}")
