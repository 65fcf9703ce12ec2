"""neighbours — a grpc.aio client with several moderate senders; it measures every send."""

__all__ = ["MODULE", "NeighboursJob", "measure_neighbours"]

import asyncio
import time

import msgspec
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.calls import CALL_TIMEOUT_SEC, Latency, latency_of
from benchmarks.clients.control import SEND_MESSAGE
from benchmarks.clients.messages import request_for

MODULE = "benchmarks.clients.neighbours"


class NeighboursJob(msgspec.Struct, frozen=True):
    """The sends of each sender, with a pause after each; the first `warm_up` sends are not measured."""

    address: str
    senders: int
    sends: int
    pause_sec: float
    warm_up: int = 20


def measure_neighbours(job: NeighboursJob) -> Latency:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, Latency)


async def _work(job: NeighboursJob) -> Latency:
    async with aio.insecure_channel(job.address) as channel:
        await channel.channel_ready()
        took = await asyncio.gather(*(_send_on(channel, job, f"neighbour-{sender}") for sender in range(job.senders)))
    return latency_of([duration for durations in took for duration in durations[job.warm_up :]])


async def _send_on(channel: aio.Channel, job: NeighboursJob, name: str) -> list[float]:
    """Returns the duration of each send in seconds."""
    send = channel.unary_unary(
        SEND_MESSAGE,
        request_serializer=pb.SendMessageRequest.SerializeToString,
        response_deserializer=pb.SendMessageResponse.FromString,
    )
    request = request_for(name)
    request.sender = name
    took: list[float] = []
    for _ in range(job.warm_up + job.sends):
        before = time.perf_counter()
        response = await send(request, timeout=CALL_TIMEOUT_SEC)
        took.append(time.perf_counter() - before)
        if response.message.sender != name:
            raise RuntimeError(f"unexpected message: {response}")
        await asyncio.sleep(job.pause_sec)
    return took


if __name__ == "__main__":
    process.serve(_work, NeighboursJob)
