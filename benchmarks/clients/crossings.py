"""crossings — a grpc.aio client that subscribes on one host, sends on another, and measures from send to event."""

__all__ = ["MODULE", "CrossingJob", "measure_crossings"]

import asyncio
import time

import msgspec
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.calls import Latency, latency_of
from benchmarks.clients.control import SEND_MESSAGE, SUBSCRIBE
from benchmarks.clients.messages import CONTENT, SENDER

MODULE = "benchmarks.clients.crossings"
TIMEOUT_SEC = 20.0


class CrossingJob(msgspec.Struct, frozen=True):
    """The sends to make, one after another, after some that are not measured.

    Attributes:
        send_to, receive_from: addresses of the daemons.
        agent: the recipient, on the host `host`.
        pause_sec: between two sends, so that the receipts of one do not travel with the next.
    """

    send_to: str
    receive_from: str
    agent: str
    host: str
    sends: int
    pause_sec: float
    warm_up: int = 20


def measure_crossings(job: CrossingJob) -> Latency:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, Latency)


async def _work(job: CrossingJob) -> Latency:
    took: list[float] = []
    async with aio.insecure_channel(job.receive_from) as inbound, aio.insecure_channel(job.send_to) as outbound:
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
        for number in range(job.warm_up + job.sends):
            content = f"{number:08}{CONTENT[8:]}"
            request = pb.SendMessageRequest(recipient=f"{job.agent}:{job.host}", sender=SENDER, content=content)
            before = time.perf_counter()
            response = asyncio.ensure_future(send(request, timeout=TIMEOUT_SEC))
            event = await asyncio.wait_for(stream.read(), TIMEOUT_SEC)
            took.append(time.perf_counter() - before)
            await response
            if not isinstance(event, pb.SubscribeResponse) or event.message.content != content:
                raise RuntimeError(f"unexpected event: {event}")
            await asyncio.sleep(job.pause_sec)
        stream.cancel()
    return latency_of(took[job.warm_up :])


if __name__ == "__main__":
    process.serve(_work, CrossingJob)
