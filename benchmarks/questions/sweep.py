"""sweep — does a send wait while retention deletes a million messages?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients.calls import CallsJob, measure_calls
from benchmarks.clients.control import count_messages
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.stores import Mail, prepare

QUESTION = "How much does retention that deletes 1,000,000 read messages delay concurrent sends?"
METHOD = (
    "Two daemons on equal stores of read messages; one of them deletes continuously, slice by slice. Durable sends to "
    "another mailbox go to each in turn, one after another. At the end some messages must remain to be deleted."
)
COMMAND = "python -m benchmarks.clients.calls '{…}'"
AGENT = "deep"
ALWAYS = ("--keep-read", "1ms", "--sweep-every", "1s")


def measure(options: Options) -> Result:
    """Runs the benchmark; raises RuntimeError if the deletion ended before the sends."""
    rounds = Rounds()
    stored, calls = options.pick(1_000_000, 100_000), options.pick(1000, 200)
    quiet_store, swept_store = prepare(Mail(AGENT, read=stored)), prepare(Mail(AGENT, read=stored))
    with running("daemon", data=quiet_store) as quiet, running("daemon", *ALWAYS, data=swept_store) as swept:

        def call(server: Server, name: str, round_number: int) -> dict[str, float]:
            took = measure_calls(CallsJob(server.address, f"other-{round_number}", calls))
            return {f"{name} p50": took.p50_ms, f"{name} p99": took.p99_ms, f"{name} max": took.max_ms}

        rounds.run(options.rounds, partial(call, quiet, "quiet"), partial(call, swept, "swept"))
        remaining = count_messages(swept.address, AGENT)
        if not 0 < remaining < stored:
            raise RuntimeError(f"{remaining:,} of {stored:,} messages remain: none or all were deleted")
    figures = [
        Figure(f"{name}, one durable send, {part}", rounds.median(f"{name} {part}"), "ms", COMMAND)
        for name in ("quiet", "swept")
        for part in ("p50", "p99", "max")
    ]
    longest = rounds.median("swept max") - rounds.median("quiet max")
    figures += [
        Figure("messages deleted during the sends", stored - remaining, "", COMMAND),
        Figure("longest send, beyond that without deletion", longest, "ms", COMMAND, at_most(50)),
    ]
    return new_result("sweep", QUESTION, METHOD, options, figures, rounds.samples)
