"""SocketWatch — notices that a Unix socket of this gateway was removed or replaced, so that no client can reach it.

Logouts and cleaners of temporary directories remove sockets. gRPC cannot bind again while it runs, so the gateway has
to be restarted. Not here: the restart (`gateway.process`), claiming a socket's path at the daemon's start
(`supervisor.socket_claims`). Invariant: a socket on which another process answers is left alone.
"""

__all__ = ["SocketWatch", "find_obstacle"]

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from mailroomd.model.quantities import unix_path
from mailroomd.observability.log import log

CONNECT_SEC = 0.2  # a live socket on this machine accepts at once


class SocketWatch:
    """Watches the sockets of the bound addresses. Create it when they are bound.

    Args:
        addresses: the bound addresses; only Unix sockets are watched.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        paths = [path for path in map(unix_path, addresses) if path is not None]
        self._bound = {path: _identity(path) for path in paths}
        self._reported: set[Path] = set()

    def needs_restart(self) -> bool:
        """Returns whether a socket is gone and can be bound again. Logs each loss once."""
        return any(self._is_lost(path, bound) for path, bound in self._bound.items())

    def _is_lost(self, path: Path, bound: tuple[int, int] | None) -> bool:
        if bound is not None and _identity(path) == bound:
            self._reported.discard(path)
            return False
        obstacle = find_obstacle(path)
        if path not in self._reported:
            self._reported.add(path)
            next_step = f"clients cannot reach this daemon: {obstacle}" if obstacle else "restarting to bind it again"
            log.error("socket was removed or replaced", path=str(path), next_step=next_step)
        return not obstacle


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns device and inode of a socket; None if there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None


def find_obstacle(path: Path) -> str:
    """Returns what prevents binding a path again; "" if nothing does. Creates the directory if it is missing."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            return f"{path.parent} is not writable"
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return f"{path} is not a socket"
    except FileNotFoundError:
        return "" if path.parent.is_dir() else f"{path.parent.parent} does not exist"
    except OSError as error:
        return f"{path.parent}: {error.strerror}"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SEC)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return ""
        except OSError:
            pass
    return "another process listens there"
