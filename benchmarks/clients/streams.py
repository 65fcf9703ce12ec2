"""streams — a grpc.aio client with Subscribe streams: many idle ones, many on one mailbox, or one that replays."""

__all__ = [
    "MODULE",
    "FanOutJob",
    "IdleJob",
    "ReplayJob",
    "StreamsDone",
    "hold_idle_streams",
    "measure_fan_out",
    "measure_replay",
]

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import msgspec
from grpc import aio
from mailroom import AsyncMailroom
from mailroom.options import SubscribeOptions
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.bulk import batches_for, stream_batches
from benchmarks.clients.control import SUBSCRIBE
from benchmarks.clients.messages import SENDER

MODULE = "benchmarks.clients.streams"
STREAMS_PER_CONNECTION = 100
BEGINNING = "0" * 16  # an event id before all
BATCH_TAG = 7 << 3 | 2  # of `events`, which a batch begins with
LOCAL = [("grpc.use_local_subchannel_pool", 1)]  # otherwise channels to one address share a connection


class IdleJob(msgspec.Struct, frozen=True, tag=True):
    """Holds idle streams, each on its own mailbox."""

    address: str
    streams: int


class FanOutJob(msgspec.Struct, frozen=True, tag=True):
    """Sends messages to one mailbox with many subscribers.

    Attributes:
        max_batch: how many events the subscribers take in one response.
        backlog: send the messages before the subscribers connect.
    """

    address: str
    agent: str
    subscribers: int
    messages: int
    max_batch: int = 0
    backlog: bool = False


class ReplayJob(msgspec.Struct, frozen=True, tag=True):
    """Reads the stored messages of a mailbox.

    Attributes:
        max_batch: how many events one response may carry.
        unread: read the unread messages; otherwise all of them, by position.
        sdk: read with the asyncio SDK, which converts each event; otherwise undecoded responses.
    """

    address: str
    agent: str
    messages: int
    max_batch: int = 0
    unread: bool = False
    sdk: bool = False


class StreamsDone(msgspec.Struct, frozen=True):
    """Its measurement: from the first send (backlog, replay: subscription) until every subscriber has every message."""

    deliveries_per_sec: float


@contextmanager
def hold_idle_streams(address: str, streams: int) -> Generator[None]:
    """Holds idle streams from a separate process while the block runs."""
    with process.started(MODULE, IdleJob(address, streams), StreamsDone):
        yield


def measure_fan_out(job: FanOutJob) -> StreamsDone:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, StreamsDone)


def measure_replay(job: ReplayJob) -> StreamsDone:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, StreamsDone)


async def _work(job: IdleJob | FanOutJob | ReplayJob) -> StreamsDone:
    async with AsyncExitStack() as stack:
        if isinstance(job, ReplayJob):
            return await (_replay_by_sdk(job) if job.sdk else _replay(job, stack))
        if isinstance(job, FanOutJob):
            return await (_fan_out_backlog(job, stack) if job.backlog else _fan_out(job, stack))
        agents = [f"idle-{index}" for index in range(job.streams)]
        await _caught_up(await _subscribe(job.address, agents, stack, {}))
        process.report_ready()
        await process.until_input_ends()
        return StreamsDone(0.0)


async def _fan_out(job: FanOutJob, stack: AsyncExitStack) -> StreamsDone:
    agents, options = [job.agent] * job.subscribers, {"max_batch": job.max_batch}
    streams = await _subscribe(job.address, agents, stack, options)
    await _caught_up(streams)
    channel = await stack.enter_async_context(aio.insecure_channel(job.address, LOCAL))
    await channel.channel_ready()
    batches = batches_for([job.agent] * job.messages)
    started = time.perf_counter()
    await asyncio.gather(stream_batches(channel, batches), *(_read(stream, job.messages) for stream in streams))
    return StreamsDone(job.subscribers * job.messages / (time.perf_counter() - started))


async def _fan_out_backlog(job: FanOutJob, stack: AsyncExitStack) -> StreamsDone:
    channel = await stack.enter_async_context(aio.insecure_channel(job.address, LOCAL))
    await stream_batches(channel, batches_for([job.agent] * job.messages))
    agents, options = [job.agent] * job.subscribers, {"include_unread": True, "observe": True}
    started = time.perf_counter()
    streams = await _subscribe(job.address, agents, stack, {**options, "max_batch": job.max_batch})
    await asyncio.gather(*(_read(stream, job.messages) for stream in streams))
    return StreamsDone(job.subscribers * job.messages / (time.perf_counter() - started))


async def _replay(job: ReplayJob, stack: AsyncExitStack) -> StreamsDone:
    options = {"include_unread": True} if job.unread else {"after_id": BEGINNING}
    started = time.perf_counter()
    options |= {"observe": True, "max_batch": job.max_batch}
    (stream,) = await _subscribe(job.address, [job.agent], stack, options)
    await _read(stream, job.messages)
    return StreamsDone(job.messages / (time.perf_counter() - started))


async def _replay_by_sdk(job: ReplayJob) -> StreamsDone:
    options = SubscribeOptions(observe=True)
    options |= SubscribeOptions(include_unread=True) if job.unread else SubscribeOptions(after_id=BEGINNING)
    async with AsyncMailroom(job.address, sender=SENDER) as mailroom:
        received, started = 0, time.perf_counter()
        async for _ in mailroom.subscribe(job.agent, **options):
            received += 1
            if received == job.messages:
                break
        return StreamsDone(job.messages / (time.perf_counter() - started))


async def _subscribe(
    address: str, agents: Sequence[str], stack: AsyncExitStack, options: Mapping[str, Any]
) -> list[Any]:
    streams: list[Any] = []
    for first in range(0, len(agents), STREAMS_PER_CONNECTION):
        channel = await stack.enter_async_context(aio.insecure_channel(address, LOCAL))
        subscribe = channel.unary_stream(
            SUBSCRIBE, request_serializer=pb.SubscribeRequest.SerializeToString, response_deserializer=bytes
        )
        for agent in agents[first : first + STREAMS_PER_CONNECTION]:
            streams.append(subscribe(pb.SubscribeRequest(agent=agent, **options)))
            stack.callback(streams[-1].cancel)
    return streams


async def _caught_up(streams: list[Any]) -> None:
    for stream in streams:
        await stream.read()


async def _read(stream: Any, messages: int) -> None:
    """Reads this number of messages; a batch is decoded to count them."""
    received = 0
    while received < messages:
        response = await stream.read()
        if not isinstance(response, bytes):
            raise TypeError("the stream ended before all messages had arrived")
        is_batch = response[0] == BATCH_TAG
        received += len(pb.SubscribeResponse.FromString(response).events) if is_batch else 1


if __name__ == "__main__":
    process.serve(_work, IdleJob | FanOutJob | ReplayJob)
