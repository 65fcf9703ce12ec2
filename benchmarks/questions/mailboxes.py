"""mailboxes — are bulk sends to many mailboxes slower than to one?"""

__all__ = ["measure"]

from contextlib import ExitStack
from functools import partial

from benchmarks.clients.bulk import BulkJob, send_bulk
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.stores import Mail, prepare

QUESTION = "How many messages per second in bulk to 1, 10,000 and 100,000 mailboxes?"
METHOD = (
    "Three daemons with one unread message in each of their mailboxes, each idle while another has its turn; batches "
    "of 100 messages, each to a random mailbox."
)
COMMAND = "python -m benchmarks.clients.bulk '{…}'"
AGENT = "box"


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    messages = options.pick(20_000, 5_000)
    sizes = (1, options.pick(10_000, 1_000), options.pick(100_000, 10_000))
    with ExitStack() as stack:
        servers = {
            size: stack.enter_context(
                running("daemon", "--max-unread", "10000000", data=prepare(Mail(AGENT, unread=size, mailboxes=size)))
            )
            for size in sizes
        }

        def send(server: Server, size: int, _: int) -> dict[str, float]:
            return {f"{size:,}": send_bulk(BulkJob(server.address, AGENT, messages, size)).rate_per_sec}

        rounds.run(options.rounds, *(partial(send, server, size) for size, server in servers.items()))
    first, *others = [f"{size:,}" for size in sizes]
    figures = [Figure(f"{name} mailboxes, messages", rounds.median(name), "/s", COMMAND) for name in (first, *others)]
    figures += [
        Figure(f"{name} mailboxes, vs. one", rounds.ratio(name, first), "×", COMMAND, at_least(0.75)) for name in others
    ]
    return new_result("mailboxes", QUESTION, METHOD, options, figures, rounds.samples)
