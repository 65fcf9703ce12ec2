"""acquire_state_lock — allows one daemon per state directory.

Owns the lock file and the wait for it. The lock is a flock(2), which belongs to the open file and not to a process:
workers inherit it, so it is free only when the last process of the daemon is gone. The file is never removed. The
process id in it only tells people who holds the lock; no decision depends on it.
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
from mailroomd.worker.inherited import InheritedDescriptor

PATIENCE_SEC = 10.0  # a stopping daemon takes up to 5 s, and a new one should take over from it
_RETRY_SEC = 0.05  # flock has no timeout of its own; nobody notices a delay this short


def acquire_state_lock(state_dir: Path, wait_for_stop: Callable[[float], bool]) -> InheritedDescriptor | None:
    """Returns the lock, or None if the daemon was asked to stop while it waited.

    Args:
        state_dir: the directory to lock, which exists.
        wait_for_stop: waits up to the given seconds for a stop signal, and returns whether there is one.

    Raises:
        Refusal: ALREADY_RUNNING, or CANNOT_CREATE if the lock file cannot be opened.
    """
    path = state_dir / "mailroomd.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Refusal(f"cannot write {path}: {error.strerror}", ExitCode.CANNOT_CREATE) from None
    deadline = time.monotonic() + PATIENCE_SEC
    has_announced_wait = False
    while not _try_lock(descriptor):
        if not has_announced_wait:
            print(f"mailroomd: waiting for {_holder(descriptor)} to leave {state_dir}", file=sys.stderr, flush=True)
            has_announced_wait = True
        if time.monotonic() >= deadline:
            sentence = f"{_holder(descriptor)} already runs on {state_dir}. Stop it, or choose another --state-dir."
            os.close(descriptor)
            raise Refusal(sentence, ExitCode.ALREADY_RUNNING)
        if wait_for_stop(_RETRY_SEC):
            os.close(descriptor)
            return None
    _write_pid(descriptor)
    return InheritedDescriptor(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f"mailroomd (pid {pid})" if pid.isdigit() else "another mailroomd"


def _write_pid(descriptor: int) -> None:
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
