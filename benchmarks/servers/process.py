"""process — starts a server process, reads its output, and makes sure that it and its descendants are gone afterwards.

Not here: the servers themselves. Invariant: only processes that were started here are ever signaled, by id.
"""

__all__ = [
    "DATA_PARENT",
    "ROOT",
    "OutputReader",
    "data_directory",
    "end_in_order",
    "free_port",
    "launch",
    "stop",
    "wait_for_port",
]

import atexit
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks import procfs

ROOT = Path(__file__).resolve().parent.parent.parent
DATA_PARENT = Path("/var/tmp/mailroom-bench")  # not /tmp, which may be a tmpfs, where an fsync costs nothing
READY_TIMEOUT_SEC = 30.0
STOP_TIMEOUT_SEC = 10.0
POLL_SEC = 0.01
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_TOPDIR = 0x80086601, 0x40086602, 0x00020000  # linux/fs.h
LAST_LINES = 10  # of a server's output, for the error message


class OutputReader:
    """Reads the output of a process, so that it never blocks, and keeps the last lines.

    Args:
        process: its standard output is a pipe.
        search: returns the value to look for in a line, or None if the line does not contain it.
    """

    def __init__(self, process: subprocess.Popen[str], search: Callable[[str], str | None]) -> None:
        self.found: str | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._done = threading.Event()  # the value was found, or the output has ended
        self._process = process
        self._search = search
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, timeout_sec: float = READY_TIMEOUT_SEC) -> str:
        """Waits for the value and returns it.

        Raises:
            RuntimeError: it did not appear; the message contains the end of the output.
        """
        self._done.wait(timeout_sec)
        if self.found is None:
            raise RuntimeError(f"{self._process.args} did not start:\n{''.join(self.last_lines)}")
        return self.found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last_lines.append(line)
            if self.found is None:
                self.found = self._search(line.rstrip())
                if self.found is not None:
                    self._done.set()
        self._done.set()


def end_in_order() -> None:
    """Makes SIGTERM end this process like Ctrl-C: everything it started is stopped, its directories are removed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    signal.signal(signal.SIGTERM, _exit_in_order)


def _exit_in_order(signum: int, _: object) -> None:
    sys.exit(128 + signum)


def launch(command: Sequence[str], data: Path, extra: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts a server with its own home and environment, so that the user's mail and settings are not touched."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=inherited | {"HOME": str(data), "XDG_RUNTIME_DIR": str(data)} | dict(extra or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # we handle Ctrl-C, and send SIGTERM
    )


def stop(process: subprocess.Popen[str]) -> None:
    """Stops a server with SIGTERM; after STOP_TIMEOUT_SEC, kills what is left of it and prints a warning."""
    remaining: list[tuple[int, str]] = []
    with suppress(OSError):
        remaining = [(pid, procfs.start_time(pid)) for pid in procfs.family(process.pid)]
    process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_SEC
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_SEC)
    while remaining and time.monotonic() < deadline:  # multiprocessing's resource tracker ends shortly after its parent
        remaining = [(pid, started) for pid, started in remaining if procfs.is_same_process(pid, started)]
        time.sleep(POLL_SEC if remaining else 0.0)
    for pid, _ in remaining:
        print(
            f"warning: process {pid} was still running {STOP_TIMEOUT_SEC:.0f} s after SIGTERM; killed", file=sys.stderr
        )
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def data_directory() -> Path:
    """Returns a new directory on a real disk, which is removed when the benchmarks end.

    It is not removed earlier: for some minutes after many files were deleted, ext4 examines each freed inode near a
    directory before it allocates a new one (1 ms per file instead of 0.01 ms), and the next round would pay for it. For
    the same reason each directory is in a different part of the disk, if the file system supports that.
    """
    DATA_PARENT.mkdir(exist_ok=True)
    _spread_subdirectories(DATA_PARENT)
    data = Path(tempfile.mkdtemp(prefix="data-", dir=DATA_PARENT))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    return data


def _spread_subdirectories(directory: Path) -> None:
    """Requests a separate block group for each subdirectory, as `chattr +T` does (ext4)."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # another file system, another user's directory
            flags = bytearray(8)
            fcntl.ioctl(handle, _FS_IOC_GETFLAGS, flags)
            requested = int.from_bytes(flags, sys.byteorder) | _FS_TOPDIR
            fcntl.ioctl(handle, _FS_IOC_SETFLAGS, requested.to_bytes(8, sys.byteorder))
    finally:
        os.close(handle)


def free_port() -> int:
    """Returns a free loopback TCP port, for servers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, timeout_sec: float = READY_TIMEOUT_SEC) -> None:
    """Waits until a server listens on a loopback port.

    Raises:
        TimeoutError: none did in time.
    """
    deadline = time.monotonic() + timeout_sec
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(POLL_SEC)
    raise TimeoutError(f"nothing listened on port {port} after {timeout_sec:.0f} s")
