"""bulk — a grpc.aio client that sends batches over one SendMessages stream, several of them in flight."""

__all__ = ["BATCH", "MODULE", "BulkDone", "BulkJob", "batches_for", "send_bulk", "stream_batches"]

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.control import SEND_MESSAGES
from benchmarks.clients.messages import request_for

MODULE = "benchmarks.clients.bulk"
BATCH = 100
WINDOW = 4  # batches in flight
TIMEOUT_SEC = 120.0


class BulkJob(msgspec.Struct, frozen=True):
    """The messages to send, either to `agent` or to agent-0 … agent-(mailboxes-1) in random order."""

    address: str
    agent: str
    messages: int
    mailboxes: int = 1


class BulkDone(msgspec.Struct, frozen=True):
    """Its measurement."""

    rate_per_sec: float


def send_bulk(job: BulkJob) -> BulkDone:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, BulkDone)


def batches_for(recipients: Sequence[str]) -> list[bytes]:
    """Returns serialized requests of BATCH messages each, so that building them is not measured."""
    return [
        pb.SendMessagesRequest(
            messages=[request_for(recipient) for recipient in recipients[start : start + BATCH]]
        ).SerializeToString()
        for start in range(0, len(recipients), BATCH)
    ]


async def stream_batches(channel: aio.Channel, batches: Sequence[bytes]) -> float:
    """Sends batches over one stream, WINDOW of them in flight; returns the seconds until the last response.

    Raises:
        RuntimeError: a message was not answered with OK.
    """
    method = channel.stream_stream(SEND_MESSAGES, request_serializer=bytes, response_deserializer=bytes)
    window = asyncio.Semaphore(WINDOW)

    async def requests() -> AsyncGenerator[bytes]:
        for batch in batches:
            await window.acquire()
            yield batch

    started = time.perf_counter()
    responses: list[bytes] = []
    async for response in method(requests(), timeout=TIMEOUT_SEC):
        window.release()
        responses.append(response)
    took = time.perf_counter() - started
    for response in responses:
        for result in pb.SendMessagesResponse.FromString(response).results:
            if not result.HasField("ok"):
                raise RuntimeError(f"a message was refused: {result.error}")
    if len(responses) != len(batches):
        raise RuntimeError(f"{len(responses)} of {len(batches)} batches were answered")
    return took


async def _work(job: BulkJob) -> BulkDone:
    indexes = [random.randrange(job.mailboxes) for _ in range(job.messages)]
    recipients = [job.agent if job.mailboxes == 1 else f"{job.agent}-{index}" for index in indexes]
    async with aio.insecure_channel(job.address) as channel:
        await channel.channel_ready()
        await stream_batches(channel, batches_for(recipients[:BATCH])[:1])  # warm-up
        return BulkDone(job.messages / await stream_batches(channel, batches_for(recipients)))


if __name__ == "__main__":
    process.serve(_work, BulkJob)
