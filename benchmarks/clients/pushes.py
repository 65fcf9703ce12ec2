"""pushes — a grpc.aio client that subscribes, sends to itself, and measures the time from send to event."""

__all__ = ["MODULE", "PushJob", "measure_pushes"]

import asyncio
import time

import msgspec
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.calls import Latency, latency_of
from benchmarks.clients.control import SEND_MESSAGE, SUBSCRIBE
from benchmarks.clients.messages import request_for

MODULE = "benchmarks.clients.pushes"
TIMEOUT_SEC = 10.0


class PushJob(msgspec.Struct, frozen=True):
    """The sends to make, with a pause between them, after some that are not measured."""

    address: str
    agent: str
    pushes: int
    pause_sec: float = 0.0
    warm_up: int = 20


def measure_pushes(job: PushJob) -> Latency:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, Latency)


async def _work(job: PushJob) -> Latency:
    took: list[float] = []
    local = [("grpc.use_local_subchannel_pool", 1)]  # sender and subscriber are two connections
    async with (
        aio.insecure_channel(job.address, local) as inbound,
        aio.insecure_channel(job.address, local) as outbound,
    ):
        subscribe = inbound.unary_stream(
            SUBSCRIBE,
            request_serializer=pb.SubscribeRequest.SerializeToString,
            response_deserializer=pb.SubscribeResponse.FromString,
        )
        send = outbound.unary_unary(
            SEND_MESSAGE,
            request_serializer=pb.SendMessageRequest.SerializeToString,
            response_deserializer=pb.SendMessageResponse.FromString,
        )
        stream = subscribe(pb.SubscribeRequest(agent=job.agent))
        await stream.read()  # CaughtUp
        request = request_for(job.agent)
        for _ in range(job.warm_up + job.pushes):
            before = time.perf_counter()
            response = asyncio.ensure_future(send(request, timeout=TIMEOUT_SEC))
            event = await asyncio.wait_for(stream.read(), TIMEOUT_SEC)
            took.append(time.perf_counter() - before)
            if not isinstance(event, pb.SubscribeResponse) or (await response).message.id != event.event_id:
                raise RuntimeError(f"unexpected event: {event}")
            await asyncio.sleep(job.pause_sec)
        stream.cancel()
    return latency_of(took[job.warm_up :])


if __name__ == "__main__":
    process.serve(_work, PushJob)
