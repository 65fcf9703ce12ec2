"""Broker — a real nats-server with JetStream that tests start, injure and empty: on loopback, or on another machine."""

__all__ = ["NATS_SERVER", "Broker"]

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from support.harness.waiting import BOUND_SEC, wait_until
from support.hosts.network import Machine

NATS_SERVER = str(Path(sys.executable).with_name("nats-server"))
PORT, MONITORING_PORT = 4222, 8222  # on a machine of its own
START_SEC = 120.0  # a server that has lost its store catches up under load


class Broker:
    """One server, over all its starts on the same store.

    Args:
        directory: the hub's.
        number: of a cluster's server, counted from 1; 0 for a hub of one server.
        machine: where it runs; None for this one, on loopback.

    Attributes:
        program: the server's program; may change between two starts.
        directory: holds configuration, store and log, of all servers of a cluster.
        port: where hosts reach it.
        process: None while it is stopped.
    """

    def __init__(self, directory: Path, number: int = 0, machine: Machine | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._suffix = f"-{number}" if number else ""  # of a cluster's server, counted from 1
        self.program = NATS_SERVER
        self._machine = machine
        self.port, self._monitoring = (PORT, MONITORING_PORT) if machine else (_free_port(), _free_port())
        self.process: subprocess.Popen[bytes] | None = None
        self._log_begin = 0  # of what it says since its start

    @property
    def url(self) -> str:
        """The address for hosts."""
        return f"nats://{self._machine.address if self._machine else '127.0.0.1'}:{self.port}"

    @property
    def config(self) -> Path:
        """Its configuration, as `mailroom hub init` writes it."""
        return self.directory / f"nats-server{self._suffix}.conf"

    @property
    def store(self) -> Path:
        """Where it stores."""
        return self.directory / f"jetstream{self._suffix}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.directory / f"log{self._suffix}"

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        self.launch()
        wait_until(self.is_ready, "nats-server is ready", START_SEC)

    def launch(self) -> None:
        """Starts it."""
        where = self._machine.program() if self._machine else ()
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self.process = subprocess.Popen(
                [*where, self.program, "-c", str(self.config), "-m", str(self._monitoring)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def reload(self) -> None:
        """Has it read its configuration again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(BOUND_SEC)
        self.process = None

    def stop(self) -> None:
        """Stops it as its operator would."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(BOUND_SEC)
        self.process = None

    def pause(self) -> None:
        """Stops it with SIGSTOP."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def lose_store(self) -> None:
        """Kills it and deletes all that it has stored."""
        self.kill()
        for path in self.store.iterdir():
            shutil.rmtree(path)

    def streams(self) -> dict[str, int]:
        """Returns how many messages each stream holds."""
        return {stream["name"]: stream["state"]["messages"] for stream in self.stream_details()}

    def stream_details(self) -> list[dict[str, Any]]:
        """Returns what the server knows of each stream."""
        report = self._monitor("jsz?streams=true&accounts=true&config=true")
        accounts: list[dict[str, Any]] = report.get("account_details") or []
        details: list[list[dict[str, Any]]] = [account.get("stream_detail") or [] for account in accounts]
        return [stream for detail in details for stream in detail]

    def close(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.kill()

    def is_ready(self) -> bool:
        """Returns whether it takes connections, and its streams are whole."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return self._monitor("healthz").get("status") == "ok"
        except OSError:
            return False

    def aborted_catchups(self) -> int:
        """Returns how often since its start it found no leader to complete a stream from."""
        return self.log.read_bytes()[self._log_begin :].count(b"catchup aborted, no leader")

    def _monitor(self, page: str) -> Any:
        return self._machine.run(lambda: self._read(page)) if self._machine else self._read(page)

    def _read(self, page: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitoring}/{page}", timeout=2.0) as response:
            return json.load(response)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
