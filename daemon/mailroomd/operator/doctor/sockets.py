"""Sockets — does a process listen where clients connect, or is the socket stale?

A stale socket is removed only while no daemon holds the lock of the state directory: a starting daemon binds its socket
before it listens.
"""

__all__ = ["check"]

import errno
import socket
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mailroom.state_lock import read_lock, read_state_lock

from mailroomd.operator.doctor.finding import Finding, Level, ok, problem, warning
from mailroomd.operator.doctor.processes import listener_pid
from mailroomd.operator.installation import Installation

_CONNECT_SEC = 1.0


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the socket or the port that clients use."""
    path = installation.address.socket_path
    if path is None:
        yield _check_port(installation.address.text)
        return
    finding = _check_socket(path, installation)
    yield finding
    lock = Path(f"{path}.lock")
    if finding.level is Level.OK and read_state_lock(installation.state_dir).is_held and not read_lock(lock).is_held:
        sentence = f"{lock} was removed or replaced: a second daemon could take {path}"
        yield warning("socket", sentence, "check again: the daemon locks it within a second; else restart it")


def _check_socket(path: Path, installation: Installation) -> Finding:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        if read_state_lock(installation.state_dir).is_held:
            return warning("socket", f"{path} was removed", "see the finding about the daemon")
        advice = "start `mailroomd`, or give the address that it listens on with --address"
        return warning("socket", f"{path} does not exist", advice)
    except OSError as error:
        return problem("socket", f"cannot access {path}: {error.strerror}", f"check the mode of {path.parent}")
    if not is_socket:
        return problem("socket", f"{path} is not a socket", "move it away, and start `mailroomd`")
    try:
        return ok("socket", f"{_describe(listener_pid(path))} listens on {path}")
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
        listener_pid(path)
    except ConnectionRefusedError:
        if stat.S_ISSOCK(path.lstat().st_mode):  # a connection to any other file is refused, too
            path.unlink(missing_ok=True)


def _describe(pid: int) -> str:
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
