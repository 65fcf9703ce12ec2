"""load — sends load at an address and says how fast it was answered: many calls at a time, and one at a time.

Many come from h2load, which costs little beside the server. One at a time comes from h2load too (the rate) and from a
grpc.aio client in a process of its own (what a Python caller sees, and the percentiles). All are bounded in number and
time, and go to the loopback address only. A gRPC error has HTTP status 200, so h2load's word is not enough: the client
checks each reply, and sends.py counts afterwards what arrived.
"""

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import uvloop
from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.client import SEND_MESSAGE

__all__ = ["Calls", "H2Load", "calls_one_at_a_time", "h2load", "h2load_command", "request_for"]

CONTENT = "x" * 200
TIMEOUT_SEC = 120.0
CALL_TIMEOUT_SEC = 10.0
FRAME_HEADER_BYTES = 5  # of gRPC: one byte says whether it is compressed, four hold the length

FINISHED = re.compile(r"finished in [\d.]+m?s, ([\d.]+) req/s")
REQUESTS = re.compile(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded")
STATUS_CODES = re.compile(r"status codes: (\d+) 2xx")
DATA = re.compile(r"traffic: .* \((\d+)\) data")


@dataclass(frozen=True, slots=True)
class H2Load:
    """What h2load measured."""

    rate_per_sec: float
    requests: int
    data_bytes: int  # of all replies, with their frame headers; an error has none


@dataclass(frozen=True, slots=True)
class Calls:
    """What the grpc.aio client measured, one call at a time."""

    rate_per_sec: float
    p50_ms: float
    p99_ms: float


def request_for(recipient: str) -> pb.SendMessageRequest:
    """Returns the message that every benchmark sends: 200 bytes of content."""
    return pb.SendMessageRequest(recipient=recipient, sender="bench", content=CONTENT)


def h2load_command(url: str, body: str, requests: int, clients: int, streams: int) -> list[str]:
    """Returns h2load's command line: so many requests in all, over so many connections with so many calls each."""
    counts = ["-n", str(requests), "-c", str(clients), "-m", str(streams)]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    return ["h2load", *counts, "-d", body, *headers, url]


def h2load(address: str, recipient: str, requests: int, clients: int, streams: int) -> H2Load:
    """Sends the same message many times.

    Raises:
        RuntimeError: not every request was answered with a message.
        subprocess.TimeoutExpired: it took longer than TIMEOUT_SEC.
    """
    message = request_for(recipient).SerializeToString()
    with tempfile.NamedTemporaryFile(prefix="mailroom-bench-", suffix=".bin") as body:
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        command = h2load_command(f"http://{address}{SEND_MESSAGE}", body.name, requests, clients, streams)
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SEC, check=True)
    return _parse(done.stdout, requests)


def _parse(output: str, requests: int) -> H2Load:
    finished, counts = FINISHED.search(output), REQUESTS.search(output)
    codes, data = STATUS_CODES.search(output), DATA.search(output)
    if not (finished and counts and codes and data):
        raise RuntimeError(f"h2load printed something unknown:\n{output}")
    if not int(counts[1]) == int(counts[2]) == int(codes[1]) == requests:
        raise RuntimeError(f"not all of {requests} requests were answered:\n{output}")
    least = requests * (FRAME_HEADER_BYTES + len(CONTENT))
    if int(data[1]) < least:
        raise RuntimeError(
            f"some of {requests} replies were errors: {data[1]} bytes of data, {least} at least expected"
        )
    return H2Load(rate_per_sec=float(finished[1]), requests=requests, data_bytes=int(data[1]))


def calls_one_at_a_time(address: str, recipient: str, requests: int) -> Calls:
    """Runs the grpc.aio client in a process of its own: one call after another, each reply checked.

    Raises:
        subprocess.CalledProcessError: a call failed; the client has printed why.
        subprocess.TimeoutExpired: it took longer than TIMEOUT_SEC.
    """
    command = [sys.executable, "-m", "benchmarks.load", address, recipient, str(requests)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, timeout=TIMEOUT_SEC, check=True)
    return msgspec.json.decode(done.stdout, type=Calls)


async def _call(address: str, recipient: str, requests: int) -> list[float]:
    """Returns the seconds that each call took."""
    request = request_for(recipient)
    took: list[float] = []
    async with aio.insecure_channel(address) as channel:
        send = channel.unary_unary(
            SEND_MESSAGE,
            request_serializer=pb.SendMessageRequest.SerializeToString,
            response_deserializer=pb.SendMessageResponse.FromString,
        )
        await channel.channel_ready()
        for _ in range(requests):
            before = time.perf_counter()
            response = await send(request, timeout=CALL_TIMEOUT_SEC)
            took.append(time.perf_counter() - before)
            if response.message.content != CONTENT:
                raise RuntimeError(f"not our message: {response}")
    return took


def main() -> None:
    """The client's process: ADDRESS RECIPIENT REQUESTS; prints a Calls as JSON."""
    address, recipient, requests = sys.argv[1:]
    took = uvloop.run(asyncio.wait_for(_call(address, recipient, int(requests)), TIMEOUT_SEC))
    percentiles = statistics.quantiles(took, n=100, method="inclusive")
    calls = Calls(rate_per_sec=len(took) / sum(took), p50_ms=percentiles[49] * 1000, p99_ms=percentiles[98] * 1000)
    sys.stdout.buffer.write(msgspec.json.encode(asdict(calls)))


if __name__ == "__main__":
    main()
