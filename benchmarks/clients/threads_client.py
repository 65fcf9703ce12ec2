"""threads_client — publisher and subscriber for Mailroom: the blocking SDK, with a thread for each send in flight."""

__all__ = ["MODULE"]

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mailroom import Mailroom

from benchmarks.clients.broker_job import AT_ONCE, BrokerJob, serve
from benchmarks.clients.mailroom_client import consume
from benchmarks.clients.messages import CONTENT, SENDER

MODULE = "benchmarks.clients.threads_client"


async def _publish(job: BrokerJob) -> None:
    await asyncio.to_thread(_publish_in_threads, job)


def _publish_in_threads(job: BrokerJob) -> None:
    remaining = iter(range(job.messages))
    threads = AT_ONCE[job.mode]

    def work(_: int) -> None:
        for _ in remaining:
            client.send(job.agent, CONTENT)

    with Mailroom(job.address, sender=SENDER) as client, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(threads)):
            pass


if __name__ == "__main__":
    serve(_publish, consume)
