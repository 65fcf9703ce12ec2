"""process — the worker that serves metrics to Prometheus; it exists only with `--metrics`.

Owns one loopback port and its HTTP responses. Every local user can reach a loopback port, so a scraper must present an
administrator's token, as for GetMetrics, unless `--auth` is off. The values come from the control page: they are
available even while other workers are stopped or gone, and no worker that handles mail ever waits for a scraper.
Not here: what is counted (`observability.metrics`), the port itself (the supervisor keeps it across restarts).
Invariant: a slow scraper costs no more than its time limit and a small buffer.
"""

__all__ = ["main"]

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

from mailroomd.auth.authentication import Authenticator, token_missing
from mailroomd.auth.caller import Role
from mailroomd.auth.token_file import TokenCache, TokenFile
from mailroomd.ipc.control_page import ControlPage
from mailroomd.ipc.worker_metrics import read_metrics
from mailroomd.model.errors import MailroomError
from mailroomd.observability.exposition import CONTENT_TYPE, render_prometheus
from mailroomd.worker.config import MetricsConfig
from mailroomd.worker.runner import WorkerContext

MAX_WAITING = 16  # connections that have not sent their request yet; for a further one the oldest is closed
MAX_CONNECTIONS = 64  # further connections are closed at once: their clients are slow to read
MAX_REQUEST_BYTES = 16 << 10
_TEXT = "text/plain; charset=utf-8"
REQUEST_TIMEOUT_SEC = 5.0  # from the connection to the end of the response


def main(context: WorkerContext, config: MetricsConfig) -> None:
    """Serves metrics until the supervisor stops it."""
    asyncio.run(MetricsServer(context, config).run())


class MetricsServer:
    """An HTTP server with one page."""

    def __init__(self, context: WorkerContext, config: MetricsConfig) -> None:
        self._context = context
        self._listener = socket.socket(fileno=config.listener.descriptor)
        self._authenticator = Authenticator(
            TokenCache(TokenFile(context.settings.state_dir)), is_required=context.settings.auth == "required"
        )
        self._stop_requested = asyncio.Event()
        self._waiting: dict[StreamWriter, None] = {}  # for their requests, in the order of their arrival
        self._connections = 0

    async def run(self) -> None:
        """Serves until STOP."""
        asyncio.get_running_loop().add_reader(self._context.control_fileno(), self._on_control_message)
        server = await asyncio.start_server(self._serve, sock=self._listener, limit=MAX_REQUEST_BYTES)
        self._context.report_ready()
        while not self._stop_requested.is_set():
            self._context.beat()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), self._context.beat_interval_sec)
        server.close()

    def _on_control_message(self) -> None:
        if self._context.stop_requested():
            self._stop_requested.set()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._connections += 1
        self._waiting[writer] = None
        try:
            if self._make_room():
                async with asyncio.timeout(REQUEST_TIMEOUT_SEC):
                    request = await reader.readuntil(b"\r\n\r\n")
                    self._waiting.pop(writer, None)
                    writer.write(respond(request, self._context.control, self._authenticator))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone, too slow, or does not speak HTTP
        finally:
            self._connections -= 1
            self._waiting.pop(writer, None)
            writer.close()

    def _make_room(self) -> bool:
        """Closes the connection that has waited longest if there are too many; returns whether the newest may stay.

        Every local user can connect, so those that only wait must not shut the scraper out.
        """
        if len(self._waiting) > MAX_WAITING:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.abort()
        return self._connections <= MAX_CONNECTIONS


class _Request:
    """An HTTP request as `Authenticator` reads a call: its Authorization header, and no Unix socket."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")[1:]
        fields = (line.partition(":") for line in lines)
        self._authorization = [value.strip() for name, _, value in fields if name.lower() == "authorization"]

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Returns the header under the name that gRPC gives it."""
        return [("authorization", value) for value in self._authorization]

    def peer(self) -> str:
        """Returns an address that is not a Unix socket."""
        return "metrics:0"


def respond(request: bytes, control: ControlPage, authenticator: Authenticator) -> bytes:
    """Returns the complete response to an HTTP request; the connection is closed after it."""
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path not in (b"/", b"/metrics"):
        return _response("404 Not Found", _TEXT, b"the metrics are at /metrics\n")
    if method not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", _TEXT, b"GET /metrics\n")
    if (refusal := _refusal(request, authenticator)) is not None:
        return refusal
    page = render_prometheus(read_metrics(control)).encode()
    return _response("200 OK", CONTENT_TYPE, page, with_body=method == b"GET")


def _refusal(request: bytes, authenticator: Authenticator) -> bytes | None:
    """Returns the response for a request without an administrator's token, or None."""
    try:
        caller = authenticator.authenticate(_Request(request))
        if caller.role in (Role.OWNER, Role.ADMIN):
            return None
        if caller.role is Role.AGENT:
            sentence = "the metrics need an administrator's token: mailroom token create --admin"
            return _response("403 Forbidden", _TEXT, f"{sentence}\n".encode())
        sentence = str(token_missing())
    except MailroomError as error:
        sentence = str(error)
    return _response("401 Unauthorized", _TEXT, f"{sentence}\n".encode(), "WWW-Authenticate: Bearer")


def _response(status: str, content_type: str, body: bytes, *fields: str, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status}",
        *fields,
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(head).encode() + (body if with_body else b"")
