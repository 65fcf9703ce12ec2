"""gateways — do several gateways on one port carry more than one?"""

__all__ = ["measure"]

from contextlib import ExitStack
from functools import partial

from benchmarks.clients import h2load
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.daemon import Server, running

QUESTION = "How many durable sends a second with 2 and 4 gateways on the same port, beside one?"
METHOD = (
    "Three daemons, idle while another has its turn. h2load makes 32 connections with 8 calls each, which the kernel "
    "spreads over the gateways. More gateways need more cores to help; on two they must not harm."
)
COMMAND = "h2load -n REQUESTS -c 32 -m 8 …"
NUMBERS = (1, 2, 4)


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    requests = options.pick(20_000, 4_000)
    with ExitStack() as stack:
        servers = {number: stack.enter_context(running("daemon", "--gateways", str(number))) for number in NUMBERS}

        def send(server: Server, gateways: int, number: int) -> dict[str, float]:
            return {str(gateways): h2load.send(server.address, f"run-{number}", requests, 32, 8).rate_per_sec}

        for server in servers.values():
            h2load.send(server.address, "warm-up", requests // 4, 32, 8)
        rounds.take(options.rounds, *(partial(send, server, gateways) for gateways, server in servers.items()))
    figures = [
        Figure(f"{number} gateway{'s' if number > 1 else ''}, sends", rounds.median(str(number)), "/s", COMMAND)
        for number in NUMBERS
    ]
    figures += [
        Figure(f"{number} gateways, of one", rounds.ratio(str(number), "1"), "×", COMMAND, at_least(1.0))
        for number in NUMBERS[1:]
    ]
    return new_result("gateways", QUESTION, METHOD, options, figures, rounds.samples)
