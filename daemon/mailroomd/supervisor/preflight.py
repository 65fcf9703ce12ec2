"""preflight — prepares the file system before the first worker starts.

Owns the state directory, the directories of the sockets, the check that no socket is in use, and the `addresses` file
by which clients find the daemon. The command-queue owns inbox/ and outbox/.
"""

__all__ = ["clear_sockets", "create_state_dir", "publish_addresses", "withdraw_addresses"]

import json
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from mailroomd.model.quantities import unix_path
from mailroomd.supervisor.exits import ExitCode, Refusal

_PRIVATE = 0o700
_ANSWER_SEC = 1.0  # a live socket on this machine accepts at once, whatever its process is doing
_CANNOT_CREATE, _ALREADY_RUNNING = ExitCode.CANNOT_CREATE, ExitCode.ALREADY_RUNNING


def create_state_dir(state_dir: Path) -> None:
    """Creates the state directory with mode 0700, or accepts the existing one.

    Raises:
        Refusal: CANNOT_CREATE.
    """
    _create_directory(state_dir, "--state-dir")
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise Refusal(f"cannot write to the state directory {state_dir}. Choose another --state-dir.", _CANNOT_CREATE)


def clear_sockets(listen: Iterable[str]) -> None:
    """Prepares every Unix socket address: creates its directory, and removes a socket that nothing listens on.

    Raises:
        Refusal: CANNOT_CREATE, or ALREADY_RUNNING if a process listens there.
    """
    for path in filter(None, map(unix_path, listen)):
        _create_directory(path.parent, "--listen")
        _check_private(path.parent)
        _clear_socket(path)


def publish_addresses(state_dir: Path, addresses: Iterable[str]) -> None:
    """Writes `addresses`, a JSON list of texts as --listen takes them; a reader sees the old file or the new one."""
    temporary = state_dir / "addresses.tmp"
    temporary.write_text(json.dumps(list(addresses)) + "\n", encoding="utf-8")
    temporary.replace(state_dir / "addresses")


def withdraw_addresses(state_dir: Path) -> None:
    """Removes `addresses`: the daemon does not listen any more."""
    (state_dir / "addresses").unlink(missing_ok=True)


def _create_directory(path: Path, flag: str) -> None:
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    except FileExistsError:
        raise Refusal(f"{path} is not a directory. Move it away, or choose another {flag}.", _CANNOT_CREATE) from None
    except OSError as error:
        sentence = f"cannot create {path}: {error.strerror}. Choose another {flag}."
        raise Refusal(sentence, _CANNOT_CREATE) from None


def _check_private(directory: Path) -> None:
    """Refuses a directory in which another user could replace the socket."""
    try:
        status = directory.stat()
    except OSError as error:
        raise Refusal(f"cannot examine {directory}: {error.strerror}", _CANNOT_CREATE) from None
    if status.st_uid != os.geteuid():
        sentence = f"{directory} belongs to another user (uid {status.st_uid}). Choose another --listen."
        raise Refusal(sentence, _CANNOT_CREATE)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        sentence = f"every user can write to {directory}, so it is no safe place for a socket. Run `chmod 700` on it."
        raise Refusal(sentence, _CANNOT_CREATE)


def _clear_socket(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Refusal(f"{path} exists and is not a socket. Move it away.", _CANNOT_CREATE)
        if _has_listener(path):
            sentence = f"another process already listens on {path}. Stop it, or choose another --listen."
            raise Refusal(sentence, _ALREADY_RUNNING)
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refusal(f"cannot use {path}: {error.strerror}", _CANNOT_CREATE) from None


def _has_listener(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_SEC)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except (BlockingIOError, TimeoutError):  # its backlog is full: a process has it
            return True
    return True
