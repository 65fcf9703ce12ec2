"""nats_client — publisher and consumer for JetStream with nats-py: a durable push consumer that acknowledges."""

__all__ = ["MODULE"]

from typing import Any, cast

import nats
from nats.js.api import ConsumerConfig, StorageType, StreamConfig

from benchmarks.clients import process
from benchmarks.clients.broker_job import BrokerJob, FileWriter, publish_each, serve
from benchmarks.clients.messages import CONTENT

MODULE = "benchmarks.clients.nats_client"
MAX_PENDING = 400  # unacknowledged messages in bulk: four batches of 100, as for the others
STALL_SEC = 60.0


async def _publish(job: BrokerJob) -> None:
    client = await _connect(job)
    context = client.jetstream(publish_async_max_pending=MAX_PENDING)
    if job.mode == "bulk":
        acknowledgements = [
            await context.publish_async(job.agent, CONTENT.encode(), wait_stall=STALL_SEC) for _ in range(job.messages)
        ]
        for acknowledgement in acknowledgements:
            await acknowledgement
    else:
        await publish_each(job, lambda: context.publish(job.agent, CONTENT.encode()))
    await client.close()


async def _consume(job: BrokerJob) -> None:
    client = await _connect(job)
    context = client.jetstream()
    await context.add_stream(StreamConfig(name=job.agent, subjects=[job.agent], storage=StorageType.FILE))
    subscription = await context.subscribe(
        job.agent, durable="writer", manual_ack=True, config=ConsumerConfig(max_ack_pending=10_000)
    )
    files = FileWriter(job)
    process.report_ready()
    async for message in subscription.messages:
        files.write(message.data)
        await message.ack()
        if files.written == job.messages:
            break
    await client.close()


async def _connect(job: BrokerJob) -> Any:
    """Returns a client; nats-py is only partly typed."""
    return await cast("Any", nats).connect(job.address)


if __name__ == "__main__":
    serve(_publish, _consume)
