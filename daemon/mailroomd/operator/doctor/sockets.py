"""Sockets — is somebody listening where clients look, or was a socket left behind?

A socket that nobody listens on is removed only while no daemon holds the state directory's lock: one that is just
starting has bound its socket before it listens.
"""

__all__ = ["check"]

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.doctor.locks import LockState, state_lock
from mailroomd.operator.places import Places

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_CONNECT_SEC = 1.0


def check(places: Places) -> Iterator[Finding]:
    """Looks at the socket that clients would use."""
    path = places.address.socket_path
    if path is None:
        yield _look_at_port(places.address.text)
        return
    yield _look_at_socket(path, places)


def _look_at_socket(path: Path, places: Places) -> Finding:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return warning("socket", f"{path} is not there", "start `mailroomd`, or say where it listens: --address")
    except OSError as error:
        return problem("socket", f"{path} cannot be looked at: {error.strerror}", f"check the modes of {path.parent}")
    if not is_socket:
        return problem("socket", f"{path} is no socket", "move it away, and start `mailroomd`")
    try:
        return ok("socket", f"{_peer(path)} listens on {path}")
    except OSError as error:
        return _unanswered(path, error, places)


def _unanswered(path: Path, error: OSError, places: Places) -> Finding:
    if error.errno != errno.ECONNREFUSED:
        reason = (error.strerror or str(error)).lower()
        return problem("socket", f"{path} cannot be connected to: {reason}", "check its mode and its owner")
    if state_lock(places)[0] is LockState.HELD:
        return warning("socket", f"nobody listens on {path} yet", "a daemon is starting or stopping: look again")
    return warning(
        "socket",
        f"{path} was left behind: nobody listens",
        f"rm {path}; `mailroomd` does so too",
        partial(_remove, path),
    )


def _remove(path: Path) -> None:
    try:
        _peer(path)
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)


def _peer(path: Path) -> str:
    """Returns who listens.

    Raises:
        OSError: nobody can be reached.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SEC)
        probe.connect(os.fspath(path))
        pid, _, _ = _CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"


def _look_at_port(address: str) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SEC).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return problem("socket", f"nobody answers at {address}: {reason}", "start `mailroomd`, or correct the address")
    return ok("socket", f"somebody listens at {address}")
