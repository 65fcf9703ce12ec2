"""gateways — do several gateways on one port serve more calls than one?"""

__all__ = ["measure"]

from contextlib import ExitStack
from functools import partial

from benchmarks.clients import h2load
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running

QUESTION = "How many durable sends per second with 2 and 4 gateways on the same port, compared with one?"
METHOD = (
    "Three daemons, each idle while another has its turn. h2load opens 32 connections with 8 concurrent calls each, "
    "which the kernel distributes over the gateways. More gateways need more cores to help; on two they must not "
    "hurt."
)
COMMAND = "h2load -n REQUESTS -c 32 -m 8 …"
GATEWAYS = (1, 2, 4)


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    requests = options.pick(20_000, 4_000)
    with ExitStack() as stack:
        servers = {count: stack.enter_context(running("daemon", "--gateways", str(count))) for count in GATEWAYS}

        def send(server: Server, gateways: int, round_number: int) -> dict[str, float]:
            return {str(gateways): h2load.send(server.address, f"run-{round_number}", requests, 32, 8).rate_per_sec}

        for server in servers.values():
            h2load.send(server.address, "warm-up", requests // 4, 32, 8)
        rounds.run(options.rounds, *(partial(send, server, gateways) for gateways, server in servers.items()))
    figures = [
        Figure(f"{count} gateway{'s' if count > 1 else ''}, sends", rounds.median(str(count)), "/s", COMMAND)
        for count in GATEWAYS
    ]
    figures += [
        Figure(f"{count} gateways, vs. one", rounds.ratio(str(count), "1"), "×", COMMAND, at_least(1.0))
        for count in GATEWAYS[1:]
    ]
    return new_result("gateways", QUESTION, METHOD, options, figures, rounds.samples)
