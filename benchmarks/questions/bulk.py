"""bulk — how many messages per second in batches?"""

__all__ = ["measure"]

import time

from benchmarks.clients.bulk import BATCH, BulkJob, send_bulk
from benchmarks.clients.control import count_messages
from benchmarks.results import Figure, Options, Result, at_least, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.bare_loop import BareLoop
from benchmarks.servers.daemon import running
from benchmarks.servers.process import data_directory

QUESTION = "How many messages per second over SendMessages in batches of 100, compared with a bare loop doing the same?"
METHOD = (
    "A grpc.aio client sends batches that were serialized beforehand, four of them in flight. The bare loop is one "
    "process that commits 100 messages per transaction and writes their files, without RPC or queue. Every result is "
    "checked."
)
COMMAND = "python -m benchmarks.clients.bulk '{…}'"
UNREAD = ("--max-unread", "10000000")


def measure(options: Options) -> Result:
    """Runs the benchmark.

    Raises:
        RuntimeError: a message was refused, or the daemon does not count exactly the messages sent.
    """
    rounds = Rounds()
    messages = options.pick(30_000, 5_000)
    loop = BareLoop(data_directory())
    with running("daemon", *UNREAD) as daemon:

        def send(round_number: int) -> dict[str, float]:
            agent = f"bulk-{round_number}"
            done = send_bulk(BulkJob(daemon.address, agent, messages))
            if (stored := count_messages(daemon.address, agent)) != messages + BATCH:
                raise RuntimeError(f"{agent}: sent {messages + BATCH}, stored {stored}")
            return {"daemon": done.rate_per_sec}

        rounds.run(options.rounds, lambda _: _write(loop, messages), send)
    loop.close()
    figures = [
        Figure("bare loop, messages", rounds.median("bare loop"), "/s", f"BareLoop.write({BATCH}) in a loop"),
        Figure("bulk sends, messages", rounds.median("daemon"), "/s", COMMAND),
        Figure("bulk sends, vs. the bare loop", rounds.ratio("daemon", "bare loop"), "×", COMMAND, at_least(0.75)),
    ]
    return new_result("bulk", QUESTION, METHOD, options, figures, rounds.samples)


def _write(loop: BareLoop, messages: int) -> dict[str, float]:
    started = time.perf_counter()
    for _ in range(messages // BATCH):
        loop.write(BATCH)
    return {"bare loop": messages / (time.perf_counter() - started)}
