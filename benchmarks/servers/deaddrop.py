"""deaddrop — runs the server of PyPI's deaddrop on a database file with a namespace and two identities."""

__all__ = ["Deaddrop", "Identity", "running_deaddrop"]

import http.client
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.clients.messages import CONTENT
from benchmarks.servers.process import OutputReader, data_directory, free_port, launch, stop, wait_for_port

TIMEOUT_SEC = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A sender or recipient."""

    id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Deaddrop:
    """A server that accepts requests."""

    port: int
    namespace: str
    sender: Identity
    recipient: Identity

    def send_request(self) -> tuple[str, dict[str, str], dict[str, str]]:
        """Returns the URL, headers and body of a send."""
        headers = {"X-Inbox-Secret": self.sender.secret, "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/{self.namespace}/send"
        return url, headers, {"to": self.recipient.id, "body": CONTENT}


@contextmanager
def running_deaddrop() -> Generator[Deaddrop]:
    """Runs the server as `deadrop serve` does, but without the access log, which would slow it down."""
    data, port = data_directory(), free_port()
    serve = [sys.executable, "-m", "uvicorn", "deadrop.api:app", "--host", "127.0.0.1", "--port", str(port)]
    environment = {"DEADROP_DB": str(data / "deaddrop.db"), "DEADROP_NO_AUTH": "1"}
    process = launch([*serve, "--no-access-log", "--log-level", "warning"], data, environment)
    OutputReader(process, lambda _: None)
    try:
        wait_for_port(port)
        namespace = _post(port, "/admin/namespaces", {})
        owner = {"X-Namespace-Secret": namespace["secret"]}
        identities = [_post(port, f"/{namespace['ns']}/identities", owner) for _ in range(2)]
        sender, recipient = (Identity(identity["id"], identity["secret"]) for identity in identities)
        yield Deaddrop(port, namespace["ns"], sender, recipient)
    finally:
        stop(process)


def _post(port: int, path: str, headers: dict[str, str]) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SEC)
    try:
        connection.request("POST", path, b"{}", {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"deaddrop responded to {path} with {response.status}: {body!r}")
    return json.loads(body)
