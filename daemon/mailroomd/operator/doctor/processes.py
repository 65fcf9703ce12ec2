"""processes — which files a running daemon has open, from /proc.

A daemon keeps using a database or a lock file that was deleted or replaced, and may run on other directories than those
that the tools look at. Its open files tell. Source: proc(5). What another user's processes have open stays unknown.
"""

__all__ = ["OpenFile", "daemon_pids", "listener_pid", "open_files", "parent_pid"]

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_CONNECT_SEC = 1.0
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file or directory that a process has open.

    Attributes:
        path: its path when it was opened, as far as the kernel knows it.
        status: its status, which identifies it even if the path is gone.
    """

    pid: int
    path: Path
    status: os.stat_result

    def is_at(self, path: Path) -> bool:
        """Returns whether it still is the file at a path."""
        try:
            return os.path.samestat(self.status, path.stat())
        except OSError:
            return False


def listener_pid(path: Path) -> int:
    """Returns the process id of the process that listens on a Unix socket.

    Raises:
        OSError: no process can be reached.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SEC)
        probe.connect(os.fspath(path))
        pid, _, _ = _CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid


def parent_pid(pid: int) -> int | None:
    """Returns the process id of a process's parent, None if the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def daemon_pids(supervisor_pid: int) -> list[int]:
    """Returns the process ids of a daemon: its supervisor and its workers."""
    children: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{supervisor_pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return [supervisor_pid, *children]


def open_files(pids: list[int]) -> Iterator[OpenFile]:
    """Yields the files and directories that processes have open, as far as they can be seen."""
    for pid in pids:
        directory = Path(f"/proc/{pid}/fd")
        try:
            descriptors = list(directory.iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            with suppress(OSError):
                text = str(descriptor.readlink()).removesuffix(_DELETED)
                if text.startswith("/"):
                    yield OpenFile(pid, Path(text), descriptor.stat())
