"""Sockets — does a process listen where clients connect, or is the socket stale?

A stale socket is removed only while no daemon holds the lock of the state directory: a starting daemon binds its socket
before it listens.
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

from mailroom.state_lock import read_state_lock

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_CONNECT_SEC = 1.0


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the socket or the port that clients use."""
    path = installation.address.socket_path
    if path is None:
        yield _check_port(installation.address.text)
        return
    yield _check_socket(path, installation)


def _check_socket(path: Path, installation: Installation) -> Finding:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        advice = "start `mailroomd`, or give the address that it listens on with --address"
        return warning("socket", f"{path} does not exist", advice)
    except OSError as error:
        return problem("socket", f"cannot access {path}: {error.strerror}", f"check the mode of {path.parent}")
    if not is_socket:
        return problem("socket", f"{path} is not a socket", "move it away, and start `mailroomd`")
    try:
        return ok("socket", f"{_listener(path)} listens on {path}")
    except OSError as error:
        return _no_listener(path, error, installation)


def _no_listener(path: Path, error: OSError, installation: Installation) -> Finding:
    if error.errno != errno.ECONNREFUSED:
        reason = (error.strerror or str(error)).lower()
        return problem("socket", f"cannot connect to {path}: {reason}", "check its mode and its owner")
    if read_state_lock(installation.state_dir).is_held:
        return warning("socket", f"no process listens on {path} yet", "a daemon is starting or stopping: try again")
    advice = f"rm {path}; `mailroomd` also removes it when it starts"
    return warning("socket", f"{path} is stale: no process listens on it", advice, partial(_remove_if_stale, path))


def _remove_if_stale(path: Path) -> None:
    try:
        _listener(path)
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)


def _listener(path: Path) -> str:
    """Returns the name and process id of the process that listens.

    Raises:
        OSError: no process can be reached.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SEC)
        probe.connect(os.fspath(path))
        pid, _, _ = _CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"


def _check_port(address: str) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SEC).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return problem("socket", f"no answer at {address}: {reason}", "start `mailroomd`, or correct the address")
    return ok("socket", f"a process listens at {address}")
