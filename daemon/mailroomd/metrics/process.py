"""Metrics — the worker that serves Prometheus; it is there only where `--metrics` asks for it.

Owns one loopback port and what is answered on it. The numbers come from the control page, so they are there also while
other workers are stopped or gone, and no worker that carries mail ever waits for a scraper.
Not here: what is counted (`observability.metrics`), the port itself (the supervisor holds it over restarts).
Invariant: a scraper that is slow, or no scraper at all, gets no more than its time and a small buffer.
"""

__all__ = ["main"]

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

from mailroomd.ipc.control_page import ControlPage
from mailroomd.ipc.worker_metrics import read_metrics
from mailroomd.observability.exposition import CONTENT_TYPE, as_text
from mailroomd.worker.config import MetricsConfig
from mailroomd.worker.runner import WorkerContext

MOST_CONNECTIONS = 16  # beyond it a connection is closed at once
MOST_REQUEST_BYTES = 16 << 10
PATIENCE_SEC = 5.0  # for a request to come and an answer to be taken


def main(context: WorkerContext, config: MetricsConfig) -> None:
    """Serves metrics until it is told to stop."""
    asyncio.run(Metrics(context, config).run())


class Metrics:
    """One HTTP server of one page."""

    def __init__(self, context: WorkerContext, config: MetricsConfig) -> None:
        self._context = context
        self._listener = socket.socket(fileno=config.listener.descriptor)
        self._stop_asked = asyncio.Event()
        self._connections = 0

    async def run(self) -> None:
        """Serves until STOP."""
        asyncio.get_running_loop().add_reader(self._context.control_fileno(), self._on_control_message)
        server = await asyncio.start_server(self._serve, sock=self._listener, limit=MOST_REQUEST_BYTES)
        self._context.ready()
        while not self._stop_asked.is_set():
            self._context.beat()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), self._context.beat_interval_sec)
        server.close()

    def _on_control_message(self) -> None:
        if self._context.stop_requested():
            self._stop_asked.set()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(PATIENCE_SEC):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(answer_to(request, self._context.control))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was is gone, or no Prometheus
        finally:
            self._connections -= 1
            writer.close()


def answer_to(request: bytes, control: ControlPage) -> bytes:
    """Returns the whole answer to an HTTP request; the connection is closed behind it."""
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path not in (b"/", b"/metrics"):
        return _response("404 Not Found", "text/plain; charset=utf-8", b"the metrics are at /metrics\n")
    if method not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", "text/plain; charset=utf-8", b"GET /metrics\n")
    return _response("200 OK", CONTENT_TYPE, as_text(read_metrics(control)).encode(), with_body=method == b"GET")


def _response(status: str, content_type: str, body: bytes, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(head).encode() + (body if with_body else b"")
