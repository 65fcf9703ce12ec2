"""preflight — prepares the file system before the first worker starts.

Owns the state directory, the directories of the sockets, and the `addresses` file by which clients find the daemon.
Not here: the sockets themselves (`supervisor.socket_claims`), inbox/ and outbox/ (the command-queue).
"""

__all__ = ["create_socket_directory", "create_state_dir", "publish_addresses", "withdraw_addresses"]

import json
import os
from collections.abc import Iterable
from pathlib import Path

from mailroomd.supervisor.directory_owner import DirectoryUnsafe, check_directory
from mailroomd.supervisor.exits import ExitCode, Refusal

_PRIVATE = 0o700


def create_state_dir(state_dir: Path) -> None:
    """Creates the state directory with mode 0700, or accepts an existing one that only this user can change.

    Raises:
        Refusal: CANNOT_CREATE.
    """
    _create_directory(state_dir, "--state-dir", may_be_sticky=False)
    if not os.access(state_dir, os.W_OK | os.X_OK):
        sentence = f"cannot write to the state directory {state_dir}. Choose another --state-dir."
        raise Refusal(sentence, ExitCode.CANNOT_CREATE)


def create_socket_directory(directory: Path) -> None:
    """Creates the directory of a socket with mode 0700, or accepts one in which no other user can replace the socket.

    Raises:
        Refusal: CANNOT_CREATE.
    """
    _create_directory(directory, "--listen", may_be_sticky=True)


def publish_addresses(state_dir: Path, addresses: Iterable[str]) -> None:
    """Writes `addresses`, a JSON list of texts as --listen takes them; a reader sees the old file or the new one."""
    temporary = state_dir / "addresses.tmp"
    temporary.write_text(json.dumps(list(addresses)) + "\n", encoding="utf-8")
    temporary.replace(state_dir / "addresses")


def withdraw_addresses(state_dir: Path) -> None:
    """Removes `addresses`: the daemon does not listen any more.

    Raises:
        Refusal: CANNOT_CREATE; it cannot be removed, because it is a directory.
    """
    path = state_dir / "addresses"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        sentence = f"cannot remove {path}: {error.strerror}. Move it away."
        raise Refusal(sentence, ExitCode.CANNOT_CREATE) from None


def _create_directory(path: Path, flag: str, *, may_be_sticky: bool) -> None:
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        check_directory(path, may_be_sticky=may_be_sticky)
    except FileExistsError:
        sentence = f"{path} is not a directory. Move it away, or choose another {flag}."
        raise Refusal(sentence, ExitCode.CANNOT_CREATE) from None
    except OSError as error:
        sentence = f"cannot create {path}: {error.strerror}. Choose another {flag}."
        raise Refusal(sentence, ExitCode.CANNOT_CREATE) from None
    except DirectoryUnsafe as problem:
        advice = f"Run `{problem.remedy}`, or choose" if problem.remedy else "Choose"
        raise Refusal(f"{problem.cause}. {advice} another {flag}.", ExitCode.CANNOT_CREATE) from None
