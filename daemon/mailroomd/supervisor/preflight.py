"""premises — what has to be there, and what must not be there, before the first worker starts.

Owns the state directory, the directories of the sockets, the check that no socket is in use, and the `addresses` file
by which clients find the daemon. inbox/ and outbox/ are the command-queue's.
"""

__all__ = ["clear_sockets", "make_state_dir", "publish_addresses", "withdraw_addresses"]

import json
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from mailroomd.model.quantities import unix_path
from mailroomd.supervisor.exits import ExitCode, Refusal

_PRIVATE = 0o700
_ANSWER_SEC = 1.0  # a live socket on this machine accepts at once, whatever its process does


def make_state_dir(state_dir: Path) -> None:
    """Makes the state directory, 0700, or accepts the one that is there.

    Raises:
        Refusal: CANNOT_CREATE.
    """
    _make_directory(state_dir, "--state-dir")
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise Refusal(f"cannot write to the state directory {state_dir}: choose another --state-dir", _CANNOT)


def clear_sockets(listen: Iterable[str]) -> None:
    """Makes the way free for each unix address: a private directory, and no dead socket in it.

    Raises:
        Refusal: CANNOT_CREATE, or ALREADY_RUNNING when somebody answers there.
    """
    for path in filter(None, map(unix_path, listen)):
        _make_directory(path.parent, "--listen")
        _check_private(path.parent)
        _clear_socket(path)


def publish_addresses(state_dir: Path, addresses: Iterable[str]) -> None:
    """Writes `addresses`, a JSON list of texts as --listen takes them; a reader sees the old file or the new one."""
    temporary = state_dir / "addresses.tmp"
    temporary.write_text(json.dumps(list(addresses)) + "\n", encoding="utf-8")
    temporary.replace(state_dir / "addresses")


def withdraw_addresses(state_dir: Path) -> None:
    """Removes `addresses`: nobody answers there any more."""
    (state_dir / "addresses").unlink(missing_ok=True)


_CANNOT = ExitCode.CANNOT_CREATE


def _make_directory(path: Path, flag: str) -> None:
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    except FileExistsError:
        raise Refusal(f"{path} is not a directory: move it away, or choose another {flag}", _CANNOT) from None
    except OSError as error:
        raise Refusal(f"cannot create {path}: {error.strerror}; choose another {flag}", _CANNOT) from None


def _check_private(directory: Path) -> None:
    """Whoever can write to a socket's directory can put a socket of his own in its place."""
    try:
        found = directory.stat()
    except OSError as error:
        raise Refusal(f"cannot look at {directory}: {error.strerror}", _CANNOT) from None
    if found.st_uid != os.geteuid():
        raise Refusal(f"{directory} belongs to another user (uid {found.st_uid}): no place for a socket", _CANNOT)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise Refusal(f"{directory} can be written by everybody: no place for a socket (chmod 700 it)", _CANNOT)


def _clear_socket(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Refusal(f"{path} is in the way and is no socket: move it away", _CANNOT)
        if _answers(path):
            raise Refusal(f"somebody already answers on {path}: stop it, or choose another --listen", _ALREADY)
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refusal(f"cannot use {path}: {error.strerror}", _CANNOT) from None


_ALREADY = ExitCode.ALREADY_RUNNING


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_SEC)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except (BlockingIOError, TimeoutError):  # its queue of connections is full: somebody has it
            return True
    return True
