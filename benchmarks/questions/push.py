"""push — how long until a subscriber has a message?"""

__all__ = ["measure"]

from contextlib import ExitStack
from functools import partial

from benchmarks.clients import h2load
from benchmarks.clients.calls import CallsJob, measure_calls
from benchmarks.clients.pushes import PushJob, measure_pushes
from benchmarks.questions.single import write_one_at_a_time
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.bare_loop import BareLoop
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.process import data_directory

QUESTION = "How long from the start of a send until the subscriber has the message, idle and at half load?"
METHOD = (
    "One grpc.aio client subscribes on one connection and sends on another. Half load is h2load at half the maximum "
    "rate that the same server reached just before, to other mailboxes. The yardstick is the sum of the medians of "
    "two echoes, one commit and one file; for half load, the echoes are measured on the floor under the same load."
)
COMMAND = "python -m benchmarks.clients.pushes '{…}'"
CLIENTS, STREAMS = 8, 32
LOADED_PAUSE_SEC = 0.003


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    pushes = options.pick(1000, 200)
    loop = BareLoop(data_directory())
    with running("floor") as floor, running("daemon") as daemon:
        maximum = h2load.send(daemon.address, "maximum", options.pick(20_000, 4_000), CLIENTS, STREAMS)
        half = maximum.rate_per_sec / 2

        def echo(rate: float, name: str, round_number: int) -> dict[str, float]:
            with _load(floor, round_number, rate):
                return {name: measure_calls(CallsJob(floor.address, f"push-{round_number}", pushes)).p50_ms}

        def push(rate: float, name: str, round_number: int) -> dict[str, float]:
            with _load(daemon, round_number, rate):
                job = PushJob(daemon.address, f"push-{round_number}", pushes, LOADED_PAUSE_SEC if rate else 0.0)
                took = measure_pushes(job)
            return {f"{name} p50": took.p50_ms, f"{name} p99": took.p99_ms}

        rounds.run(
            options.rounds,
            lambda _: write_one_at_a_time(loop, pushes),
            partial(echo, 0.0, "echo, idle"),
            partial(push, 0.0, "idle"),
            partial(echo, half, "echo, half load"),
            partial(push, half, "half load"),
        )
    loop.close()
    figures = [Figure("half load", half, "sends/s", COMMAND), *_figures(rounds, "idle"), *_figures(rounds, "half load")]
    return new_result("push", QUESTION, METHOD, options, figures, rounds.samples)


def _figures(rounds: Rounds, name: str) -> list[Figure]:
    yardstick = (f"echo, {name}", f"echo, {name}", "commit and file p50")
    p50, p99 = rounds.ratio(f"{name} p50", *yardstick), rounds.ratio(f"{name} p99", *yardstick)
    return [
        Figure(f"{name}, send to subscriber, p50", rounds.median(f"{name} p50"), "ms", COMMAND),
        Figure(f"{name}, send to subscriber, p99", rounds.median(f"{name} p99"), "ms", COMMAND),
        Figure(f"{name}, one echo, p50", rounds.median(f"echo, {name}"), "ms", COMMAND),
        Figure(f"{name}, p50, vs. 2 echoes + commit + file", p50, "×", COMMAND, at_most(1.4)),
        Figure(f"{name}, p99, vs. 2 echoes + commit + file", p99, "×", COMMAND, at_most(4)),
    ]


def _load(server: Server, round_number: int, rate_per_sec: float) -> ExitStack:
    stack = ExitStack()
    if rate_per_sec:
        stack.enter_context(h2load.background(server.address, f"load-{round_number}", rate_per_sec, CLIENTS))
    return stack
