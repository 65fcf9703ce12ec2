"""deaddrop — sends to deaddrop's server and listens to it, both with the standard library's HTTP client."""

__all__ = ["measure_notices"]

import http.client
import json
import time
from contextlib import closing

from benchmarks.clients.calls import Latency, latency_of
from benchmarks.servers.deaddrop import Deaddrop

TIMEOUT_SEC = 10.0
WARM_UP = 20


def measure_notices(server: Deaddrop, pushes: int) -> Latency:
    """Measures the time from the start of a send to the arrival of its notice by SSE.

    Raises:
        RuntimeError: the server refused a request.
        TimeoutError: no notice arrived.
    """
    took: list[float] = []
    with closing(_connect(server)) as inbound, closing(_connect(server)) as outbound:
        topic = f"inbox:{server.recipient.id}"
        path, headers = f"/{server.namespace}/subscribe", {"X-Inbox-Secret": server.recipient.secret}
        subscription = {"topics": {topic: _latest(server)}, "mode": "stream"}
        inbound.request("POST", path, json.dumps(subscription), headers | {"Content-Type": "application/json"})
        notices = inbound.getresponse()
        _next_notice(notices)  # "connected"
        _, headers, body = server.send_request()
        for _ in range(WARM_UP + pushes):
            started = time.perf_counter()
            outbound.request("POST", f"/{server.namespace}/send", json.dumps(body), headers)
            _next_notice(notices)
            took.append(time.perf_counter() - started)
            response = outbound.getresponse()
            response.read()
            if response.status != 200:
                raise RuntimeError(f"deaddrop responded to a send with {response.status}")
    return latency_of(took[WARM_UP:])


def _latest(server: Deaddrop) -> str | None:
    """Returns the id of the newest message; older ones would be announced at once."""
    with closing(_connect(server)) as connection:
        headers = {"X-Inbox-Secret": server.recipient.secret}
        connection.request("GET", f"/{server.namespace}/inbox/{server.recipient.id}", headers=headers)
        messages = json.loads(connection.getresponse().read())["messages"]
    return max((message["mid"] for message in messages), default=None)


def _connect(server: Deaddrop) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SEC)


def _next_notice(stream: http.client.HTTPResponse) -> None:
    """Reads up to the empty line that ends one server-sent event."""
    while line := stream.readline():
        if line == b"\n":
            return
    raise RuntimeError("deaddrop ended the stream")
