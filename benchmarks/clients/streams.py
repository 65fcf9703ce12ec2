"""streams — a grpc.aio client with many Subscribe streams: idle ones, or all on one mailbox that receives mail."""

__all__ = ["MODULE", "FanOutDone", "FanOutJob", "IdleJob", "hold_idle_streams", "measure_fan_out"]

import asyncio
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import msgspec
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.bulk import batches_for, stream_batches
from benchmarks.clients.control import SUBSCRIBE

MODULE = "benchmarks.clients.streams"
STREAMS_PER_CONNECTION = 100
LOCAL = [("grpc.use_local_subchannel_pool", 1)]  # otherwise channels to one address share a connection


class IdleJob(msgspec.Struct, frozen=True, tag=True):
    """Holds idle streams, each on its own mailbox."""

    address: str
    streams: int


class FanOutJob(msgspec.Struct, frozen=True, tag=True):
    """Sends messages to one mailbox with many subscribers.

    Attributes:
        replay: send the messages before the subscribers connect.
    """

    address: str
    agent: str
    subscribers: int
    messages: int
    replay: bool = False


class FanOutDone(msgspec.Struct, frozen=True):
    """Its measurement: from the first send (replay: first subscription) until every subscriber has every message."""

    deliveries_per_sec: float


@contextmanager
def hold_idle_streams(address: str, streams: int) -> Generator[None]:
    """Holds idle streams from a separate process while the block runs."""
    with process.started(MODULE, IdleJob(address, streams), FanOutDone):
        yield


def measure_fan_out(job: FanOutJob) -> FanOutDone:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, FanOutDone)


async def _work(job: IdleJob | FanOutJob) -> FanOutDone:
    async with AsyncExitStack() as stack:
        if isinstance(job, FanOutJob):
            return await (_replay(job, stack) if job.replay else _fan_out(job, stack))
        agents = [f"idle-{index}" for index in range(job.streams)]
        await _caught_up(await _subscribe(job.address, agents, stack))
        process.report_ready()
        await process.until_input_ends()
        return FanOutDone(0.0)


async def _fan_out(job: FanOutJob, stack: AsyncExitStack) -> FanOutDone:
    streams = await _subscribe(job.address, [job.agent] * job.subscribers, stack)
    await _caught_up(streams)
    channel = await stack.enter_async_context(aio.insecure_channel(job.address, LOCAL))
    await channel.channel_ready()
    batches = batches_for([job.agent] * job.messages)
    started = time.perf_counter()
    await asyncio.gather(stream_batches(channel, batches), *(_read(stream, job.messages) for stream in streams))
    return FanOutDone(job.subscribers * job.messages / (time.perf_counter() - started))


async def _replay(job: FanOutJob, stack: AsyncExitStack) -> FanOutDone:
    channel = await stack.enter_async_context(aio.insecure_channel(job.address, LOCAL))
    await stream_batches(channel, batches_for([job.agent] * job.messages))
    started = time.perf_counter()
    streams = await _subscribe(job.address, [job.agent] * job.subscribers, stack, include_unread=True)
    await asyncio.gather(*(_read(stream, job.messages) for stream in streams))
    return FanOutDone(job.subscribers * job.messages / (time.perf_counter() - started))


async def _subscribe(
    address: str, agents: list[str], stack: AsyncExitStack, *, include_unread: bool = False
) -> list[Any]:
    streams: list[Any] = []
    for first in range(0, len(agents), STREAMS_PER_CONNECTION):
        channel = await stack.enter_async_context(aio.insecure_channel(address, LOCAL))
        subscribe = channel.unary_stream(
            SUBSCRIBE, request_serializer=pb.SubscribeRequest.SerializeToString, response_deserializer=bytes
        )
        for agent in agents[first : first + STREAMS_PER_CONNECTION]:
            request = pb.SubscribeRequest(agent=agent, include_unread=include_unread, observe=include_unread)
            streams.append(subscribe(request))
            stack.callback(streams[-1].cancel)
    return streams


async def _caught_up(streams: list[Any]) -> None:
    for stream in streams:
        await stream.read()


async def _read(stream: Any, messages: int) -> None:
    for _ in range(messages):
        if not isinstance(await stream.read(), bytes):
            raise TypeError("the stream ended before all messages had arrived")


if __name__ == "__main__":
    process.serve(_work, IdleJob | FanOutJob)
