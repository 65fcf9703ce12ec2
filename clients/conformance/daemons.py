"""Daemons — the real daemons that scenarios need, each started when the first scenario asks for it.

Owns their flags, directories, tokens and certificates. All clients of one run share them: scenarios use names of their
own. Not here: the process itself (`support.harness.daemon`).
"""

__all__ = ["SESSIONS", "START_SEC", "Certificates", "Daemons", "Guarded"]

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
from mailroom import AsyncMailroom, Draft, Mailroom, ResourceExhausted
from mailroomd.auth.token_file import TokenFile
from mailroomd.core.host_directory import DIRECTORY_NAME, HostRecord, HostsFile
from mailroomd.relay.hub_file import HubFile
from support.harness.client import Client
from support.harness.daemon import Daemon
from support.harness.waiting import wait_until

FLAGS: dict[str, tuple[str, ...]] = {
    "main": (),
    "restarted": (),  # stopped and killed while clients use it
    "tight": (
        *("--max-unread", "5", "--loop-guard", "8", "--client-rate", "4", "--client-streams", "2"),
        *("--client-in-flight-size", "1MiB"),
    ),
    "full": ("--max-disk-size", "8MiB"),  # filled up at once: every send finds the disk full
    "joined": ("--max-forward-size", "1MiB"),  # knows a host, and reaches no hub: as much as may wait for it does
    "tls": (),
    "mutual tls": (),
    "crowded": (),  # of SESSIONS sessions with long names, and of as many aliases as there may be
    "stalled": ("--stuck-after", "10m", "--client-in-flight-size", "1MiB"),  # its mailbox worker is stopped at times
}
START_SEC = 120.0  # a toolchain may be building beside it
ALIASES = 10_000  # the limit of the daemon
ALIASES_OF_ONE = 400  # an agent gets as many even of the last tenth
SESSIONS = 33_000  # with names of 126 characters they outgrow 4 MiB, gRPC's limit for one response
AUTHORITY = """
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj "/CN=conformance" \
  -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
for name in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr
  printf 'subjectAltName=DNS:localhost\\nextendedKeyUsage=%sAuth\\n' $name > $name.ext
  openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile $name.ext -out $name.crt
done
"""


class Certificates:
    """An authority, and what it issued: `ca.crt`, `server.crt`, `client.crt` and their keys, for `localhost`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        done = subprocess.run(["bash", "-ec", AUTHORITY], cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"openssl made no certificates: {done.stderr[-500:]}")

    def __getitem__(self, name: str) -> str:
        return str(self._directory / name)


class Guarded:
    """A daemon on a Unix socket and on TCP, with tokens.

    Attributes:
        daemon: its process and its directories.
        lock: held while it is down, and by scenarios that need it up throughout.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.lock = threading.Lock()
        daemon.state_dir.mkdir(parents=True, exist_ok=True)
        daemon.state_dir.chmod(0o700)
        self._tokens = TokenFile(daemon.state_dir)
        self._texts: dict[str | None, str] = {}
        self.token(None)  # without a token it would not listen on TCP

    @property
    def socket(self) -> str:
        """Its socket as a gRPC target."""
        return "unix://" + self.daemon.address.removeprefix("unix:")

    @property
    def port(self) -> int:
        """Its TCP port, on loopback."""
        return int(next(one for one in self.daemon.addresses if not one.startswith("unix:")).rpartition(":")[2])

    def token(self, agent: str | None, ttl_sec: float = 0.0) -> str:
        """Returns a token of an agent or, for None, of an administrator; a new one if it is to expire."""
        now_ms = time.time_ns() // 1_000_000
        if ttl_sec:
            return self._tokens.create(agent, now_ms, int(ttl_sec * 1000))[0]
        if agent not in self._texts:
            self._texts[agent] = self._tokens.create(agent, now_ms)[0]
        return self._texts[agent]

    def restart(self, *, kill: bool = False) -> None:
        """Stops or kills the daemon, and starts it again."""
        if kill:
            self.daemon.kill_supervisor()
            self.daemon.assert_no_process_left()
        else:
            self.daemon.stop()
        self.start_again()

    @contextmanager
    def restarting(self, *, kill: bool) -> Generator[None]:
        """Restarts the daemon beside what the context does; it is up again when the context ends."""
        thread = threading.Thread(target=self.restart, kwargs={"kill": kill})
        thread.start()
        try:
            yield
        finally:
            thread.join()

    @contextmanager
    def away(self) -> Generator[None]:
        """Stops the daemon; it is up again when the context ends."""
        self.daemon.stop()
        try:
            yield
        finally:
            self.start_again()

    @contextmanager
    def stalled(self) -> Generator[Callable[[], None]]:
        """Stops the worker that handles every send: sends are accepted, and not answered. Gives what resumes it."""

        def resume() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        with self.lock:
            (pid,) = self.daemon.signal_workers(("mailbox",), signal.SIGSTOP).values()
            try:
                yield resume
            finally:
                resume()

    def wait_until_call_waits(self) -> None:
        """Waits until a call waits for the worker that handles every send."""
        client = Client(self.socket)
        try:
            wait_until(lambda: client.metric("mailroom_calls_waiting"), "a call waits for the mailbox")
        finally:
            client.close()

    @contextmanager
    def without_tokens(self) -> Generator[None]:
        """Puts a directory in the place of the file of tokens while the context lasts."""
        path, kept = self._tokens.path, self._tokens.path.with_suffix(".kept")
        with self.lock:
            path.rename(kept)
            try:
                path.mkdir()
                yield
            finally:
                path.rmdir()
                kept.rename(path)

    def start_again(self) -> None:
        """Starts a daemon that was stopped, at the same places."""
        self.daemon.flags = ("--listen", f"127.0.0.1:{self.port}", *self.daemon.flags[2:])
        self.daemon.start_bound_sec = START_SEC
        self.daemon.start()


class Daemons:
    """The daemons of one run; close it to stop them and to remove their directories."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mrt-conf-"))
        self._running: dict[str, Guarded] = {}
        self._lock = threading.Lock()
        self._certificates: Certificates | None = None

    @property
    def certificates(self) -> Certificates:
        """The certificates of the run, made when they are first needed."""
        with self._lock:
            if self._certificates is None:
                self._certificates = Certificates(self.directory / "certificates")
            return self._certificates

    def __getitem__(self, name: str) -> Guarded:
        certificates = self.certificates if "tls" in name else None
        with self._lock:
            if name not in self._running:
                self._running[name] = self._start(name, certificates)
            return self._running[name]

    def close(self) -> None:
        """Stops every daemon."""
        for guarded in self._running.values():
            guarded.daemon.kill_everything()
        for _ in range(2):  # a client that was killed may have written its log meanwhile
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, name: str, certificates: Certificates | None) -> Guarded:
        directory = self.directory / secrets.token_hex(3)
        directory.mkdir()
        flags = ("--listen", "127.0.0.1:0", *FLAGS[name])
        if certificates is not None:
            flags = (*flags, "--tls-cert", certificates["server.crt"], "--tls-key", certificates["server.key"])
            flags += ("--tls-client-ca", certificates["ca.crt"]) if name == "mutual tls" else ()
        guarded = Guarded(Daemon(directory, flags, base_flags=("--max-restarts", "1000/10")))
        try:
            guarded.daemon.start_bound_sec = START_SEC
            if name in BEFORE_THE_START:
                BEFORE_THE_START[name](guarded)
            guarded.daemon.start()
            if name in PREPARATIONS:
                PREPARATIONS[name](guarded)
        except BaseException:
            guarded.daemon.kill_everything()
            raise
        return guarded


def _join(guarded: Guarded) -> None:
    """Makes the files of a host on a hub that nobody runs, which has seen the host `elsewhere`."""
    hub_file = HubFile("here", ["nats://127.0.0.1:1"], b64encode(os.urandom(32)).decode())
    path = guarded.daemon.state_dir / "hub.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(hub_file))
    hosts = HostsFile("here", hosts={"elsewhere": HostRecord()})
    (guarded.daemon.state_dir / DIRECTORY_NAME).write_bytes(msgspec.json.encode(hosts))
    guarded.daemon.flags = (*guarded.daemon.flags, "--hub", str(path))


def _fill(recipient: str, guarded: Guarded) -> None:
    """Sends to a recipient until a message is refused."""
    with Mailroom(guarded.daemon.address, sender="crowd", timeout=5) as room, suppress(ResourceExhausted):
        for _ in range(100):
            room.send(recipient, "x" * 500_000)
        raise RuntimeError(f"{recipient} takes everything")


def _crowd(guarded: Guarded) -> None:
    """Sends one message to each of SESSIONS sessions, and makes ALIASES aliases."""
    asyncio.run(_fill_aliases(guarded.daemon.address))
    drafts = (Draft(f"{'s' * 120}{number:06}", "x") for number in range(SESSIONS))
    with Mailroom(guarded.daemon.address, sender="crowd") as room:
        failed = [outcome for outcome in room.send_many(drafts) if outcome.error]
    if failed:
        raise RuntimeError(f"{len(failed)} sends failed: {failed[0]}")


async def _fill_aliases(address: str) -> None:
    async with AsyncMailroom(address, sender="crowd") as room:
        for first in range(0, ALIASES, ALIASES_OF_ONE):
            numbers = range(first, first + ALIASES_OF_ONE)
            await asyncio.gather(*(room.set_alias(f"agent-{first}", f"alias-{number}") for number in numbers))


BEFORE_THE_START = {"joined": _join}
PREPARATIONS = {"full": partial(_fill, "reader"), "crowded": _crowd, "joined": partial(_fill, "reader:elsewhere")}
