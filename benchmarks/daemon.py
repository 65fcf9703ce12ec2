"""daemon — starts the daemon, or the echo server, for a benchmark, and makes sure that it is gone afterwards.

Each gets directories of its own on a real disk and a home of its own, so that nobody's mail and settings are touched.
Only processes started here are ever signalled, by id.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import procfs
from benchmarks.client import wait_until_serving

__all__ = ["DATA_PARENT", "Server", "Target", "running", "start_command"]

Target = Literal["daemon", "echo"]

ROOT = Path(__file__).resolve().parent.parent
DATA_PARENT = Path("/var/tmp")  # not /tmp, which may be a tmpfs, where an fsync costs nothing
READY_TIMEOUT_SEC = 30.0
STOP_TIMEOUT_SEC = 10.0
READY_LINE = re.compile(r"is ready: (.+)$")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready."""

    target: Target
    process: subprocess.Popen[str]
    address: str
    serving_after_sec: float  # from the start of its process to health SERVING

    def pids(self) -> list[int]:
        """Returns the ids of all its processes, the first one first."""
        return procfs.family(self.process.pid)


class _Output:
    """Reads what a server prints, so that it never blocks; finds the address and keeps the last lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.address: str | None = None
        self.settled = threading.Event()  # the address is known, or the output has ended
        self.last_lines: deque[str] = deque(maxlen=10)
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last_lines.append(line)
            ready = READY_LINE.search(line.rstrip())
            if ready and self.address is None:
                addresses: list[str] = ready[1].split()
                self.address = next(address for address in addresses if not address.startswith("unix:"))
                self.settled.set()
        self.settled.set()


def start_command(target: Target, data: str = "DIR") -> list[str]:
    """Returns the command that starts a target with its directories below `data`."""
    if target == "echo":
        return [sys.executable, "-m", "benchmarks.echo_server"]
    directories = ["--root", f"{data}/root", "--state-dir", f"{data}/state"]
    return [sys.executable, "-m", "mailroomd", *directories, "--listen", "127.0.0.1:0", "--auth", "off"]


def _environment(data: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    return inherited | {"HOME": str(data), "XDG_RUNTIME_DIR": str(data)}


def _start(target: Target, data: Path) -> Server:
    started = time.monotonic()
    process = subprocess.Popen(
        start_command(target, str(data)),
        cwd=ROOT,
        env=_environment(data),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a Ctrl-C is ours to answer, with a SIGTERM
    )
    try:
        output = _Output(process)
        output.settled.wait(READY_TIMEOUT_SEC)
        if output.address is None:
            raise RuntimeError(f"{' '.join(start_command(target))} did not get ready:\n{''.join(output.last_lines)}")
        wait_until_serving(output.address)
    except BaseException:
        _stop(process)
        raise
    return Server(target, process, output.address, time.monotonic() - started)


def _stop(process: subprocess.Popen[str]) -> None:
    """Stops a server with SIGTERM; kills what is left of it after STOP_TIMEOUT_SEC, and says so."""
    family: list[tuple[int, str]] = []
    with suppress(OSError):
        family = [(pid, procfs.start_time(pid)) for pid in procfs.family(process.pid)]
    process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_SEC
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_SEC)
    left = family
    while left and time.monotonic() < deadline:  # multiprocessing's resource tracker ends a moment after its parent
        time.sleep(0.01)
        left = [(pid, started) for pid, started in left if procfs.is_same_process(pid, started)]
    for pid, _ in left:
        print(f"warning: process {pid} was still there {STOP_TIMEOUT_SEC:.0f} s after SIGTERM; killed", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(target: Target) -> Generator[Server]:
    """Runs a target that is SERVING while the block runs, then stops it; its directories go when the benchmarks end.

    Not before: for about a minute after many files were deleted, ext4 looks at each freed inode before it gives out a
    new one (0.01 ms a file become 0.5 ms), and the next round would pay for it.

    Raises:
        RuntimeError: it didn't get ready; the message holds the end of its output.
        TimeoutError: it got ready but never SERVING.
    """
    data = Path(tempfile.mkdtemp(prefix="mailroom-bench-", dir=DATA_PARENT))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    server = _start(target, data)
    try:
        yield server
    finally:
        _stop(server.process)
