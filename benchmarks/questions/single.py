"""single — how long does one durable send take without other load?"""

__all__ = ["measure", "write_one_at_a_time"]

from functools import partial

from benchmarks.clients.calls import CallsJob, latency_of, measure_calls
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.bare_loop import BareLoop
from benchmarks.servers.daemon import Server, running
from benchmarks.servers.process import data_directory

QUESTION = (
    "How long does one durable send take without other load, compared with one echo plus one commit and one file?"
)
METHOD = (
    "A grpc.aio client calls the echo server and the daemon in turn; the bare loop commits and files one message "
    "after another and does nothing else. The yardstick is the sum of the medians of echo, commit and file; the "
    "daemon's 99th percentile is compared with the same sum."
)
COMMAND = "python -m benchmarks.clients.calls '{…}'"
LOOP_COMMAND = "BareLoop.write(1) in a loop"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    calls = options.pick(2000, 400)
    loop = BareLoop(data_directory())
    with running("echo") as echo, running("daemon") as daemon:

        def call(server: Server, round_number: int) -> dict[str, float]:
            took = measure_calls(CallsJob(server.address, f"single-{round_number}", calls))
            return {f"{server.target} p50": took.p50_ms, f"{server.target} p99": took.p99_ms}

        rounds.run(
            options.rounds,
            partial(call, echo),
            lambda _: write_one_at_a_time(loop, calls),
            partial(call, daemon),
        )
    loop.close()
    yardstick = ("echo p50", "commit and file p50")
    figures = [
        Figure("echo, one call, p50", rounds.median("echo p50"), "ms", COMMAND),
        Figure("bare loop, one commit and file, p50", rounds.median("commit and file p50"), "ms", LOOP_COMMAND),
        Figure("bare loop, one commit alone, p50", rounds.median("commit p50"), "ms", LOOP_COMMAND),
        Figure("one durable send, p50", rounds.median("daemon p50"), "ms", COMMAND),
        Figure("one durable send, p99", rounds.median("daemon p99"), "ms", COMMAND),
        Figure("p50, vs. echo + commit + file", rounds.ratio("daemon p50", *yardstick), "×", COMMAND, at_most(1.7)),
        Figure("p99, vs. echo + commit + file", rounds.ratio("daemon p99", *yardstick), "×", COMMAND, at_most(3)),
    ]
    return new_result("single", QUESTION, METHOD, options, figures, rounds.samples)


def write_one_at_a_time(loop: BareLoop, messages: int) -> dict[str, float]:
    """Measures single commits and files, in milliseconds."""
    times = [loop.write(1) for _ in range(messages)]
    both = latency_of([(batch.commit_ms + batch.files_ms) / 1000 for batch in times])
    commits = latency_of([batch.commit_ms / 1000 for batch in times])
    return {"commit and file p50": both.p50_ms, "commit and file p99": both.p99_ms, "commit p50": commits.p50_ms}
