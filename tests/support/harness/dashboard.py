"""Dashboard — `mailroom dashboard` as a process, and raw requests to it, with the headers of an attacker."""

__all__ = ["Answer", "Dashboard", "Signed", "running_dashboard"]

import http.client
import json
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailroom_apps.dashboard.links import Links
from mailroom_apps.dashboard.sessions import Role
from support.harness.command_line import BOUND_SEC, command, environment
from support.harness.waiting import wait_until


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    cookies: list[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return self.json["reason"]


@dataclass
class Dashboard:
    """One dashboard, over all its starts in the same directory.

    Attributes:
        address: the daemon's.
        directory: its state directory is inside.
        arguments: of every start.
        port: of the last start; kept by later ones.
    """

    address: str
    directory: Path
    arguments: tuple[str, ...] = ()
    port: int = 0
    first_link: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def state_dir(self) -> Path:
        return self.directory / "dash"

    @property
    def files(self) -> Path:
        """Where the server of this port keeps its files."""
        return self.state_dir / "dashboard" / str(self.port)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/"

    def environment(self) -> dict[str, str]:
        return environment(self.address, {"MAILROOM_STATE_DIR": str(self.state_dir), "HOME": str(self.directory)})

    def start(self) -> None:
        """Starts it and waits until it has printed its link."""
        out = self.directory / "dashboard.out"
        arguments = command("dashboard", "--listen", f"127.0.0.1:{self.port}", "--no-open", *self.arguments)
        with out.open("wb") as stdout, (self.directory / "dashboard.err").open("ab") as stderr:
            self.process = process = subprocess.Popen(
                arguments, env=self.environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        wait_until(
            lambda: out.read_bytes().endswith(b"\n") or process.poll() is not None, "the dashboard prints its link"
        )
        assert process.poll() is None, self.errors()
        self.first_link = out.read_text().split(" is ready: ")[1].strip()
        (own,) = (self.state_dir / "dashboard").iterdir()  # the link may name a proxy
        self.port = int(own.name)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal and returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(BOUND_SEC)

    def errors(self) -> str:
        return (self.directory / "dashboard.err").read_text()

    def link(self, *arguments: str) -> str:
        """Returns a new link, as `mailroom dashboard link` prints it."""
        done = subprocess.run(
            command("dashboard", "link", "--listen", f"127.0.0.1:{self.port}", *arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=BOUND_SEC,
            check=True,
        )
        return done.stdout.strip()

    def raw(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Sends exactly these headers, and Host unless it is among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_SEC)
        given = {"Host": self.host} | dict(headers or {})
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            cookies = response.headers.get_all("set-cookie") or []
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, cookies, response.read())
        finally:
            connection.close()

    def own_headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The headers that the browser adds to a call of the page."""
        own = {"Origin": self.url.rstrip("/"), "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
        return own | dict(more or {})

    def open_key(self, key: str) -> Answer:
        return self.raw("POST", "/api/session", self.own_headers(), json.dumps({"key": key}).encode())

    def new_key(self, role: Role = Role.OPERATOR) -> str:
        """Returns the key of a new link, made in this process, which is faster than `link`."""
        return Links(self.files).create(role)

    def sign_in(self, role: Role = Role.OPERATOR) -> "Signed":
        """Opens a session by a new link."""
        answer = self.open_key(self.new_key(role))
        assert answer.status == 200, answer.body
        return Signed(self, answer.cookies[0].split(";")[0], answer.json["token"])


@dataclass(frozen=True)
class Signed:
    """A browser with a session."""

    dashboard: Dashboard
    cookie: str
    token: str

    def headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"Cookie": self.cookie, "X-Mailroom-Page-Token": self.token}
        return self.dashboard.own_headers(own | dict(more or {}))

    def get(self, path: str) -> Answer:
        return self.dashboard.raw("GET", f"/api/{path}", self.headers())

    def post(self, path: str, body: Any) -> Answer:
        return self.dashboard.raw("POST", f"/api/{path}", self.headers(), json.dumps(body).encode())


@contextmanager
def running_dashboard(address: str, directory: Path, *arguments: str) -> Generator[Dashboard]:
    """Runs a dashboard during a context."""
    dashboard = Dashboard(address, directory, arguments)
    dashboard.start()
    try:
        yield dashboard
    finally:
        if dashboard.process is not None and dashboard.process.poll() is None:
            dashboard.process.kill()
            dashboard.process.wait(BOUND_SEC)
        assert "Traceback" not in dashboard.errors(), dashboard.errors()
