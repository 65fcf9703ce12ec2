"""StateLock — one daemon for each state directory.

Owns the lock file and the wait for it. The lock is a flock(2), which belongs to the open file, not to a process:
workers inherit it, so it is free only when the last process of the daemon is gone. The file stays; the
process id in it only tells people who has the lock, nobody decides by it.
"""

__all__ = ["acquire_state_lock"]

import fcntl
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.worker.inherited import Inherited

PATIENCE_SEC = 10.0  # a daemon that is stopping takes up to 5 s, a new one should take over from it
_RETRY_SEC = 0.05  # flock has no time-out of its own; this is below what anybody notices


def acquire_state_lock(state_dir: Path, asked_to_stop: Callable[[float], bool]) -> Inherited | None:
    """Returns the lock, None if the daemon was asked to stop while it waited.

    Args:
        state_dir: the directory to lock, which exists.
        asked_to_stop: waits so many seconds, or until the daemon is to stop: then it returns True.

    Raises:
        Refusal: ALREADY_RUNNING, or CANNOT_CREATE when the file cannot be opened.
    """
    path = state_dir / "mailroomd.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Refusal(f"cannot write {path}: {error.strerror}", ExitCode.CANNOT_CREATE) from None
    deadline = time.monotonic() + PATIENCE_SEC
    told = False
    while not _try_lock(descriptor):
        if not told:
            print(f"mailroomd: waiting for {_holder(descriptor)} to leave {state_dir}", file=sys.stderr, flush=True)
            told = True
        if time.monotonic() >= deadline:
            sentence = f"{_holder(descriptor)} already runs on {state_dir}: stop it, or choose another --state-dir"
            os.close(descriptor)
            raise Refusal(sentence, ExitCode.ALREADY_RUNNING)
        if asked_to_stop(_RETRY_SEC):
            os.close(descriptor)
            return None
    _sign(descriptor)
    return Inherited(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f"mailroomd (pid {pid})" if pid.isdigit() else "another mailroomd"


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
