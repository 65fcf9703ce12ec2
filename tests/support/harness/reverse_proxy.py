"""ReverseProxy — serves a dashboard below a path of its own port, as a web server does, and can fall silent.

While it is silent, connections stay open and nothing passes: what a laptop sees that has slept, or lost its network.
"""

__all__ = ["ReverseProxy", "running_proxy"]

import http.client
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.harness.command_line import BOUND_SEC

HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class ReverseProxy:
    """A proxy.

    Attributes:
        url: where the page is.
        prefix: the path of `url`, which the dashboard does not see.
        target_port: where the dashboard listens.
        speaking: unset while it is silent.
    """

    url: str
    prefix: str
    target_port: int = 0
    speaking: threading.Event = field(default_factory=threading.Event)


def handler_of(proxy: ReverseProxy) -> type[BaseHTTPRequestHandler]:
    """Returns what passes one request on."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            if not self.path.startswith(proxy.prefix):
                self.send_error(404)
                return
            size = int(self.headers.get("content-length", 0))
            body = self.rfile.read(size) if size else None
            connection = http.client.HTTPConnection("127.0.0.1", proxy.target_port, timeout=BOUND_SEC)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                connection.request(self.command, "/" + self.path.removeprefix(proxy.prefix), body, headers)
                self.pass_on(connection.getresponse())
            except OSError:
                self.close_connection = True  # one of both ends is gone
            finally:
                connection.close()

        def pass_on(self, response: http.client.HTTPResponse) -> None:
            proxy.speaking.wait()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            while chunk := response.read1(65536):
                proxy.speaking.wait()
                self.wfile.write(chunk)
                self.wfile.flush()
            self.close_connection = True

        do_GET = do_POST = handle_one  # noqa: N815 - as the base class names them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Logs nothing."""

    return Handler


@contextmanager
def running_proxy(prefix: str) -> Generator[ReverseProxy]:
    """Runs a proxy during a context."""
    proxy = ReverseProxy("", prefix)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(proxy))
    server.daemon_threads = True
    proxy.url = f"http://localhost:{server.server_port}{prefix}"
    proxy.speaking.set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.speaking.set()
        server.shutdown()
        thread.join()
        server.server_close()
