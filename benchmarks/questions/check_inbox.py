"""check_inbox — does CheckInbox take longer on a large mailbox?"""

__all__ = ["measure"]

from functools import partial

from benchmarks.clients.calls import CallsJob, measure_calls
from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.stores import Mail, prepare

QUESTION = "How long does CheckInbox take with 10 and 100,000 unread messages behind 1,000,000 read ones?"
METHOD = (
    "A grpc.aio client calls three daemons in turn, each on a store filled beforehand, one call after another. With "
    "10 unread messages the response is a fifth as large as with 100,000 (it contains at most 50 messages). To "
    "separate the size of the response from the size of the mailbox, the same call is made with 50 unread messages, "
    "and for the oldest 10 of the 100,000."
)
COMMAND = "python -m benchmarks.clients.calls '{…}'"
AGENT = "deep"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    read, many = options.pick(1_000_000, 100_000), options.pick(100_000, 10_000)
    calls = options.pick(500, 100)
    flags = ("--max-unread", "10000000")
    with (
        running("daemon", *flags, data=prepare(Mail(AGENT, read=read, unread=10))) as few,
        running("daemon", *flags, data=prepare(Mail(AGENT, read=read, unread=50))) as page,
        running("daemon", *flags, data=prepare(Mail(AGENT, read=read, unread=many))) as full,
    ):

        def check(server: Server, name: str, _: int, limit: int = 0) -> dict[str, float]:
            job = CallsJob(server.address, AGENT, calls, "CheckInbox", limit=limit)
            return {name: measure_calls(job).p50_ms}

        rounds.run(
            options.rounds,
            partial(check, few, "few"),
            partial(check, page, "page"),
            partial(check, full, "full"),
            partial(check, full, "oldest ten", limit=10),
        )
    figures = [
        Figure("10 unread, CheckInbox, p50", rounds.median("few"), "ms", COMMAND),
        Figure("50 unread, CheckInbox, p50", rounds.median("page"), "ms", COMMAND),
        Figure(f"{many:,} unread, CheckInbox, p50", rounds.median("full"), "ms", COMMAND),
        Figure(f"{many:,} unread, oldest 10, p50", rounds.median("oldest ten"), "ms", COMMAND),
        Figure(
            f"oldest 10 of {many:,} unread, vs. 10 unread",
            rounds.ratio("oldest ten", "few"),
            "×",
            COMMAND,
            at_most(1.5),
        ),
        Figure(f"{many:,} unread, vs. 10 unread", rounds.ratio("full", "few"), "×", COMMAND, at_most(1.5)),
        Figure(f"{many:,} unread, vs. 50 unread", rounds.ratio("full", "page"), "×", COMMAND),
    ]
    return new_result("check_inbox", QUESTION, METHOD, options, figures, rounds.samples)
