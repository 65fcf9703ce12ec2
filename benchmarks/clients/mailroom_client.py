"""mailroom_client — publisher and subscriber for Mailroom: the asyncio SDK, and the generated stub for bulk sends."""

__all__ = ["MODULE", "consume"]

from grpc import aio
from mailroom import AsyncMailroom, CaughtUp, Message

from benchmarks.clients import process
from benchmarks.clients.broker_job import BrokerJob, publish_each, serve
from benchmarks.clients.bulk import batches_for, stream_batches
from benchmarks.clients.messages import CONTENT, SENDER

MODULE = "benchmarks.clients.mailroom_client"


async def _publish(job: BrokerJob) -> None:
    if job.mode == "bulk":
        async with aio.insecure_channel(job.address) as channel:
            await stream_batches(channel, batches_for([job.agent] * job.messages))
        return
    async with AsyncMailroom(job.address, sender=SENDER) as mailroom:
        await publish_each(job, lambda: mailroom.send(job.agent, CONTENT))


async def consume(job: BrokerJob) -> None:
    """Receives every message of a run as a subscriber."""
    received = 0
    async with AsyncMailroom(job.address, sender=SENDER) as mailroom:
        async for event in mailroom.subscribe(job.agent, caught_up=True):
            if isinstance(event, CaughtUp):
                process.report_ready()
            received += isinstance(event, Message)
            if received == job.messages:
                return


if __name__ == "__main__":
    serve(_publish, consume)
