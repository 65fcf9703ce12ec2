"""depth — does a send take longer to a large mailbox?"""

__all__ = ["measure"]

from contextlib import AbstractContextManager, ExitStack
from functools import partial

from benchmarks.clients import h2load
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running
from benchmarks.stores import Mail, prepare

QUESTION = (
    "How many durable sends per second with 10, 100,000 and 1,000,000 messages in the mailbox, 10,000 of them unread?"
)
METHOD = (
    "Three daemons on stores filled beforehand, each idle while another has its turn; h2load sends to the deep "
    "mailbox. The sends fill it further, so the mailbox with 10 messages is a new one in each round."
)
COMMAND = "h2load -n REQUESTS -c 8 -m 32 …"
AGENT = "deep"
FEW = 10
WARM_UP = 2000


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    unread = options.pick(10_000, 1_000)
    depths = (FEW, options.pick(100_000, 10_000), options.pick(1_000_000, 100_000))
    requests = options.pick(20_000, 4_000)
    with ExitStack() as stack:
        servers = {depth: stack.enter_context(_running(depth, unread)) for depth in depths}

        def send(server: Server, depth: int, round_number: int) -> dict[str, float]:
            agent = AGENT
            if depth == FEW:
                agent = f"shallow-{round_number}"
                h2load.send(server.address, agent, FEW, 1, 1)
            return {f"{depth:,}": h2load.send(server.address, agent, requests, 8, 32).rate_per_sec}

        for server in servers.values():
            h2load.send(server.address, "warm-up", WARM_UP, 8, 32)
        rounds.run(options.rounds, *(partial(send, server, depth) for depth, server in servers.items()))
    first, *others = [f"{depth:,}" for depth in servers]
    figures = [
        Figure(f"{name} messages in the mailbox, sends", rounds.median(name), "/s", COMMAND)
        for name in (first, *others)
    ]
    figures += [
        Figure(f"{name} messages, vs. {first}", rounds.ratio(name, first), "×", COMMAND, at_least(0.90))
        for name in others
    ]
    return new_result("depth", QUESTION, METHOD, options, figures, rounds.samples)


def _running(depth: int, unread: int) -> AbstractContextManager[Server]:
    data = prepare(Mail(AGENT, read=depth, unread=unread)) if depth > FEW else None
    return running("daemon", "--max-unread", "10000000", data=data)
