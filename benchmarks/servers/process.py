"""process — starts a server process, reads what it prints, and makes sure that its whole family is gone afterwards.

Not here: what is started (its neighbours). Invariant: only processes that were started here are ever signalled, by id.
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
LAST_LINES = 10  # of a server's output, kept for the error message


class OutputReader:
    """Reads what a process prints, so that it never blocks, and keeps the last lines.

    Args:
        process: its standard output is a pipe.
        wanted: returns what it looks for in a line, None where that is not in it.
    """

    def __init__(self, process: subprocess.Popen[str], wanted: Callable[[str], str | None]) -> None:
        self.found: str | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._settled = threading.Event()  # it was found, or the output has ended
        self._process = process
        self._wanted = wanted
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, timeout_sec: float = READY_TIMEOUT_SEC) -> str:
        """Returns what was looked for.

        Raises:
            RuntimeError: it did not come; the message holds the end of the output.
        """
        self._settled.wait(timeout_sec)
        if self.found is None:
            raise RuntimeError(f"{self._process.args} did not get ready:\n{''.join(self.last_lines)}")
        return self.found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last_lines.append(line)
            if self.found is None:
                self.found = self._wanted(line.rstrip())
                if self.found is not None:
                    self._settled.set()
        self._settled.set()


def end_in_order() -> None:
    """Makes SIGTERM end this process as Ctrl-C does: what it has started is stopped, its directories go."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    signal.signal(signal.SIGTERM, _exit_in_order)


def _exit_in_order(signum: int, _: object) -> None:
    sys.exit(128 + signum)


def launch(command: Sequence[str], data: Path, extra: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts a server with a home and an environment of its own, so that nobody's mail and settings are touched."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=inherited | {"HOME": str(data), "XDG_RUNTIME_DIR": str(data)} | dict(extra or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a Ctrl-C is ours to answer, with a SIGTERM
    )


def stop(process: subprocess.Popen[str]) -> None:
    """Stops a server with SIGTERM; kills what is left of it after STOP_TIMEOUT_SEC, and says so."""
    left: list[tuple[int, str]] = []
    with suppress(OSError):
        left = [(pid, procfs.start_time(pid)) for pid in procfs.family(process.pid)]
    process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_SEC
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_SEC)
    while left and time.monotonic() < deadline:  # multiprocessing's resource tracker ends a moment after its parent
        left = [(pid, started) for pid, started in left if procfs.is_same_process(pid, started)]
        time.sleep(POLL_SEC if left else 0.0)
    for pid, _ in left:
        print(f"warning: process {pid} was still there {STOP_TIMEOUT_SEC:.0f} s after SIGTERM; killed", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def data_directory() -> Path:
    """Returns a new directory on a real disk, which goes when the benchmarks end.

    Not before: for some minutes after many files were deleted, ext4 looks at each freed inode near a directory before
    it gives out a new one (0.01 ms a file become 1 ms), and the next round would pay for it. For the same reason each
    lies in another part of the disk, as far as the file system does that.
    """
    DATA_PARENT.mkdir(exist_ok=True)
    _spread_subdirectories(DATA_PARENT)
    data = Path(tempfile.mkdtemp(prefix="data-", dir=DATA_PARENT))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    return data


def _spread_subdirectories(directory: Path) -> None:
    """Asks for block groups of their own for what is made in a directory, as `chattr +T` does (ext4)."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # another file system, another user's directory
            flags = bytearray(8)
            fcntl.ioctl(handle, _FS_IOC_GETFLAGS, flags)
            asked = int.from_bytes(flags, sys.byteorder) | _FS_TOPDIR
            fcntl.ioctl(handle, _FS_IOC_SETFLAGS, asked.to_bytes(8, sys.byteorder))
    finally:
        os.close(handle)


def free_port() -> int:
    """Returns a TCP port of the loopback address that is free now, for servers that can't choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, timeout_sec: float = READY_TIMEOUT_SEC) -> None:
    """Returns once something listens on a port of the loopback address.

    Raises:
        TimeoutError: nothing did in time.
    """
    deadline = time.monotonic() + timeout_sec
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(POLL_SEC)
    raise TimeoutError(f"nothing listened on port {port} after {timeout_sec:.0f} s")
