"""h2load — load from Debian's nghttp2-client, which uses little CPU compared with the server.

A gRPC error has HTTP status 200, so h2load cannot recognize it: the size of the replies is checked here, and the
benchmarks count the messages that arrived. Every load is bounded in number and time, and goes to loopback only.
"""

__all__ = ["Done", "background", "command_of", "flood", "post", "send"]

import re
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from benchmarks.clients.control import SEND_MESSAGE
from benchmarks.clients.messages import CONTENT, FRAME_HEADER_BYTES, framed, request_for

TIMEOUT_SEC = 180.0
FLOOD_REQUESTS = 1_000_000  # more than a flood can send before it is stopped
GRPC_HEADERS = ("content-type: application/grpc", "te: trailers")

FINISHED = re.compile(r"finished in [\d.]+m?s, ([\d.]+) req/s")
REQUESTS = re.compile(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded")
STATUS_CODES = re.compile(r"status codes: (\d+) 2xx")
DATA = re.compile(r"traffic: .* \((\d+)\) data")


@dataclass(frozen=True, slots=True)
class Done:
    """The measurement of h2load."""

    rate_per_sec: float
    requests: int
    data_bytes: int  # of all replies, with frame headers; an error has none


def command_of(url: str, body: str, requests: int, clients: int, streams: int, *more: str) -> list[str]:
    """Returns h2load's command line.

    Args:
        requests: the total number.
        clients: the number of connections.
        streams: concurrent calls per connection.
    """
    counts = ["-n", str(requests), "-c", str(clients), "-m", str(streams)]
    headers = [part for header in GRPC_HEADERS for part in ("-H", header)]
    return ["h2load", *counts, "-d", body, *headers, *more, url]


def send(address: str, recipient: str, requests: int, clients: int, streams: int) -> Done:
    """Sends the same message repeatedly, each time in its own call.

    Raises:
        RuntimeError: a response contained no message.
        subprocess.TimeoutExpired: it took longer than TIMEOUT_SEC.
    """
    with _body(framed(request_for(recipient).SerializeToString())) as body:
        done = _run(command_of(f"http://{address}{SEND_MESSAGE}", body.name, requests, clients, streams), requests)
    minimum = requests * (FRAME_HEADER_BYTES + len(CONTENT))
    if done.data_bytes < minimum:
        raise RuntimeError(
            f"some of {requests} replies were errors: {done.data_bytes} bytes instead of at least {minimum}"
        )
    return done


def post(url: str, body: bytes, headers: Sequence[str], requests: int, clients: int) -> Done:
    """Sends the same HTTP/1.1 request repeatedly, one at a time per connection; raises like `send`."""
    with _body(body) as file:
        flags = [part for header in headers for part in ("-H", header)]
        counts = ["-n", str(requests), "-c", str(clients), "-m", "1"]
        return _run(["h2load", "--h1", *counts, "-d", file.name, *flags, url], requests)


@contextmanager
def background(address: str, recipient: str, rate_per_sec: float, clients: int) -> Generator[None]:
    """Sends at a steady rate while the block runs, for at most TIMEOUT_SEC."""
    requests = int(rate_per_sec * TIMEOUT_SEC)
    with _running(address, recipient, requests, clients, 32, "--rps", f"{rate_per_sec / clients:.1f}"):
        yield


@contextmanager
def flood(address: str, recipient: str, clients: int, streams: int) -> Generator[None]:
    """Keeps `clients` times `streams` sends in flight while the block runs, for at most TIMEOUT_SEC."""
    with _running(address, recipient, FLOOD_REQUESTS, clients, streams):
        yield


@contextmanager
def _running(address: str, recipient: str, requests: int, clients: int, streams: int, *more: str) -> Generator[None]:
    with _body(framed(request_for(recipient).SerializeToString())) as body:
        command = command_of(f"http://{address}{SEND_MESSAGE}", body.name, requests, clients, streams, *more)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the load ended too early: {' '.join(command)}")
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _body(content: bytes) -> Generator[IO[bytes]]:
    with tempfile.NamedTemporaryFile(prefix="mailroom-bench-", suffix=".bin") as body:
        body.write(content)
        body.flush()
        yield body


def _run(command: Sequence[str], requests: int) -> Done:
    output = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SEC, check=True).stdout
    finished, counts = FINISHED.search(output), REQUESTS.search(output)
    codes, data = STATUS_CODES.search(output), DATA.search(output)
    if not (finished and counts and codes and data):
        raise RuntimeError(f"unexpected output from h2load:\n{output}")
    if not int(counts[1]) == int(counts[2]) == int(codes[1]) == requests:
        raise RuntimeError(f"not all of {requests} requests succeeded:\n{output}")
    return Done(rate_per_sec=float(finished[1]), requests=requests, data_bytes=int(data[1]))
