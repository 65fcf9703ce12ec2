"""nats_pulls — a nats-py client that publishes to JetStream, pulls, and measures the time between the two."""

__all__ = ["MODULE", "PullJob", "measure_pulls"]

import asyncio
import time
from typing import Any, cast

import msgspec
import nats
from nats.js.api import ConsumerConfig, StorageType, StreamConfig

from benchmarks.clients import process
from benchmarks.clients.calls import Latency, latency_of
from benchmarks.clients.messages import CONTENT

MODULE = "benchmarks.clients.nats_pulls"
TIMEOUT_SEC = 20.0


class PullJob(msgspec.Struct, frozen=True):
    """The messages to publish, one after another, after some that are not measured."""

    address: str
    stream: str
    publishes: int
    pause_sec: float
    warm_up: int = 20


def measure_pulls(job: PullJob) -> Latency:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, Latency)


async def _work(job: PullJob) -> Latency:
    took: list[float] = []
    publisher, puller = await _connect(job), await _connect(job)
    context = publisher.jetstream()
    await context.add_stream(StreamConfig(name=job.stream, subjects=[job.stream], storage=StorageType.FILE))
    subscription = await puller.jetstream().pull_subscribe(
        job.stream, durable="puller", config=ConsumerConfig(max_ack_pending=64)
    )
    for number in range(job.warm_up + job.publishes):
        content = f"{number:08}{CONTENT[8:]}".encode()
        fetching = asyncio.ensure_future(subscription.fetch(1, timeout=TIMEOUT_SEC))
        await asyncio.sleep(job.pause_sec)  # the pull is at the server by then
        before = time.perf_counter()
        publishing = asyncio.ensure_future(context.publish(job.stream, content))
        (message,) = await fetching
        took.append(time.perf_counter() - before)
        await publishing
        if message.data != content:
            raise RuntimeError(f"unexpected message: {message.data!r}")
        await message.ack_sync()
    await publisher.close()
    await puller.close()
    return latency_of(took[job.warm_up :])


async def _connect(job: PullJob) -> Any:
    """Returns a client; nats-py is only partly typed."""
    return await cast("Any", nats).connect(job.address)


if __name__ == "__main__":
    process.serve(_work, PullJob)
