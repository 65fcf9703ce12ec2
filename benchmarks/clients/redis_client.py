"""redis_client — publisher and consumer for Redis Streams with redis-py: a consumer group that acknowledges."""

__all__ = ["MODULE"]

import asyncio
from typing import Any

from redis.asyncio import Redis

from benchmarks.clients import process
from benchmarks.clients.broker_job import AT_ONCE, BrokerJob, FileWriter, publish_each, serve
from benchmarks.clients.bulk import BATCH, WINDOW
from benchmarks.clients.messages import CONTENT

MODULE = "benchmarks.clients.redis_client"
GROUP = "writers"
READ_COUNT = 500  # messages at a time
BLOCK_MS = 1000


async def _publish(job: BrokerJob) -> None:
    async with _connect(job) as redis:
        if job.mode == "bulk":
            await _publish_in_bulk(redis, job)
        else:
            await publish_each(job, lambda: redis.xadd(job.agent, {"content": CONTENT}))


async def _publish_in_bulk(redis: Any, job: BrokerJob) -> None:
    batches = iter(range(0, job.messages, BATCH))

    async def worker() -> None:
        for first in batches:
            async with redis.pipeline(transaction=False) as pipeline:
                for _ in range(min(BATCH, job.messages - first)):
                    pipeline.xadd(job.agent, {"content": CONTENT})
                await pipeline.execute()

    await asyncio.gather(*(worker() for _ in range(WINDOW)))


async def _consume(job: BrokerJob) -> None:
    files = FileWriter(job)
    async with _connect(job) as redis:
        await redis.xgroup_create(job.agent, GROUP, mkstream=True)
        process.report_ready()
        while files.written < job.messages:
            streams = await redis.xreadgroup(GROUP, "writer", {job.agent: ">"}, count=READ_COUNT, block=BLOCK_MS)
            entries = [entry for _, stream in streams for entry in stream]
            for _, fields in entries:
                files.write(fields[b"content"])
            if entries:
                await redis.xack(job.agent, GROUP, *(entry_id for entry_id, _ in entries))


def _connect(job: BrokerJob) -> Any:
    """Returns a client; redis-py's types for streams and pipelines are inexact."""
    host, _, port = job.address.partition(":")
    return Redis(host=host, port=int(port), protocol=2, max_connections=max(AT_ONCE.values()))


if __name__ == "__main__":
    serve(_publish, _consume)
