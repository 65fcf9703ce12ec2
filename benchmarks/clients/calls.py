"""calls — a grpc.aio client that makes one call after another: SendMessage or CheckInbox."""

__all__ = ["MODULE", "CallsJob", "Latency", "latency_of", "measure_calls"]

import statistics
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients import process
from benchmarks.clients.control import CHECK_INBOX, SEND_MESSAGE
from benchmarks.clients.messages import CONTENT, request_for

MODULE = "benchmarks.clients.calls"
CALL_TIMEOUT_SEC = 10.0


class CallsJob(msgspec.Struct, frozen=True):
    """The calls to make, after some that are not measured.

    Attributes:
        limit: of CheckInbox; 0 for the daemon's default.
    """

    address: str
    agent: str
    calls: int
    method: Literal["SendMessage", "CheckInbox"] = "SendMessage"
    warm_up: int = 50
    limit: int = 0


class Latency(msgspec.Struct, frozen=True):
    """Its measurement."""

    p50_ms: float
    p99_ms: float
    max_ms: float


def measure_calls(job: CallsJob) -> Latency:
    """Runs the client in its own process; raises like `process.run`."""
    return process.run(MODULE, job, Latency)


def latency_of(took_sec: Sequence[float]) -> Latency:
    """Returns the percentiles of individual durations."""
    percentiles = statistics.quantiles(took_sec, n=100, method="inclusive")
    return Latency(p50_ms=percentiles[49] * 1000, p99_ms=percentiles[98] * 1000, max_ms=max(took_sec) * 1000)


async def _work(job: CallsJob) -> Latency:
    took: list[float] = []
    async with aio.insecure_channel(job.address) as channel:
        call, request = _method(channel, job)
        await channel.channel_ready()
        for _ in range(job.warm_up + job.calls):
            before = time.perf_counter()
            response = await call(request, timeout=CALL_TIMEOUT_SEC)
            took.append(time.perf_counter() - before)
            _check(response)
    return latency_of(took[job.warm_up :])


def _method(channel: aio.Channel, job: CallsJob) -> tuple[Any, Any]:
    """Returns the call and its request."""
    path, request, response = {
        "SendMessage": (SEND_MESSAGE, request_for(job.agent), pb.SendMessageResponse),
        "CheckInbox": (CHECK_INBOX, pb.CheckInboxRequest(agent=job.agent, limit=job.limit), pb.CheckInboxResponse),
    }[job.method]
    serialized = request.SerializeToString()
    call = channel.unary_unary(path, request_serializer=bytes, response_deserializer=response.FromString)
    return call, serialized


def _check(response: pb.SendMessageResponse | pb.CheckInboxResponse) -> None:
    first = response.message if isinstance(response, pb.SendMessageResponse) else response.messages[0]
    if first.content != CONTENT:
        raise RuntimeError(f"unexpected message: {response}")


if __name__ == "__main__":
    process.serve(_work, CallsJob)
