"""daemon — runs mailroomd, the echo server, or the floor (the echo server beside a bare loop) for a benchmark."""

__all__ = ["Server", "Target", "running", "start_command"]

import re
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import procfs
from benchmarks.clients.control import wait_until_serving
from benchmarks.servers.process import OutputReader, data_directory, launch, stop

Target = Literal["daemon", "echo", "floor"]

READY_LINE = re.compile(r"is ready: (.+)$")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready.

    Attributes:
        data: the parent of its directories.
        serving_after_sec: the time from the start of its process to health SERVING.
    """

    target: Target
    process: subprocess.Popen[str]
    address: str
    data: Path
    serving_after_sec: float

    def pids(self) -> list[int]:
        """Returns the ids of all its processes, its main process first."""
        return procfs.family(self.process.pid)


def start_command(
    target: Target, data: str = "DIR", flags: Sequence[str] = (), python: str = sys.executable
) -> list[str]:
    """Returns the command that starts a target with its directories below `data`."""
    if target == "daemon":
        directories = ["--root", f"{data}/root", "--state-dir", f"{data}/state"]
        return [python, "-m", "mailroomd", *directories, "--listen", "127.0.0.1:0", "--auth", "off", *flags]
    bare_loop = ["--bare-loop", data] if target == "floor" else []
    return [python, "-m", "benchmarks.servers.echo_server", *bare_loop, *flags]


@contextmanager
def running(target: Target, *flags: str, data: Path | None = None, python: str = sys.executable) -> Generator[Server]:
    """Starts a target, waits for SERVING, and stops it after the block.

    Args:
        flags: further arguments of its command.
        data: the parent of its directories; by default a new one, removed when the benchmarks end.
        python: the interpreter, which decides what version of the daemon runs.

    Raises:
        RuntimeError: it did not start; the message contains the end of its output.
        TimeoutError: it started but never reported SERVING.
    """
    data = data or data_directory()
    started = time.monotonic()
    process = launch(start_command(target, str(data), flags, python), data)
    try:
        address = OutputReader(process, _address_in).wait()
        wait_until_serving(address)
        yield Server(target, process, address, data, time.monotonic() - started)
    finally:
        stop(process)


def _address_in(line: str) -> str | None:
    ready = READY_LINE.search(line)
    addresses: list[str] = ready[1].split() if ready else []
    return next((address for address in addresses if not address.startswith("unix:")), None)
