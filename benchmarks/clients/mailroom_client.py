"""mailroom_client — publisher and subscriber of the mail room: the SDK for asyncio, the contract's stub in bulk."""

__all__ = ["MODULE"]

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
    async with AsyncMailroom(job.address, sender=SENDER) as room:
        await publish_each(job, lambda: room.send(job.agent, CONTENT))


async def _consume(job: BrokerJob) -> None:
    got = 0
    async with AsyncMailroom(job.address, sender=SENDER) as room:
        async for event in room.subscribe(job.agent, caught_up=True):
            if isinstance(event, CaughtUp):
                process.say_ready()
            got += isinstance(event, Message)
            if got == job.messages:
                return


if __name__ == "__main__":
    serve(_publish, _consume)
