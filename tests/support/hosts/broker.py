"""Broker — a real nats-server with JetStream on loopback, which tests start, injure and empty."""

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

NATS_SERVER = str(Path(sys.executable).with_name("nats-server"))


class Broker:
    """One server, over all its starts on the same store.

    Attributes:
        directory: holds configuration, store and log.
        port: where hosts reach it.
        process: None while it is stopped.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.port, self._monitoring = _free_port(), _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for hosts."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """Its configuration, as `mailroom hub init` writes it."""
        return self.directory / "nats-server.conf"

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [NATS_SERVER, "-c", str(self.config), "-m", str(self._monitoring)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        wait_until(self._is_ready, "nats-server is ready")

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
        shutil.rmtree(self.directory / "jetstream")

    def streams(self) -> dict[str, int]:
        """Returns how many messages each stream holds."""
        report = self._monitor("jsz?streams=true&accounts=true")
        accounts: list[dict[str, Any]] = report.get("account_details") or []
        details: list[list[dict[str, Any]]] = [account.get("stream_detail") or [] for account in accounts]
        streams = [stream for detail in details for stream in detail]
        return {stream["name"]: stream["state"]["messages"] for stream in streams}

    def close(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.kill()

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            return self._monitor("healthz").get("status") == "ok"
        except OSError:
            return False

    def _monitor(self, page: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitoring}/{page}", timeout=2.0) as response:
            return json.load(response)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
