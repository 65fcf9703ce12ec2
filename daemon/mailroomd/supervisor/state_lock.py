"""acquire_state_lock — allows one daemon per state directory.

Owns the name of the lock file and the wait for it. Workers inherit the lock, so a new daemon starts only when the last
process of its predecessor is gone.
"""

__all__ = ["acquire_state_lock"]

import sys
import time
from collections.abc import Callable
from pathlib import Path

from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.supervisor.lock_file import LockFile
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
        lock = LockFile(path)
    except OSError as error:
        raise Refusal(f"cannot write {path}: {error.strerror}", ExitCode.CANNOT_CREATE) from None
    deadline = time.monotonic() + PATIENCE_SEC
    has_announced_wait = False
    while not lock.try_lock():
        if not has_announced_wait:
            print(f"mailroomd: waiting for {lock.holder()} to leave {state_dir}", file=sys.stderr, flush=True)
            has_announced_wait = True
        if time.monotonic() >= deadline:
            sentence = f"{lock.holder()} already runs on {state_dir}. Stop it, or choose another --state-dir."
            lock.close()
            raise Refusal(sentence, ExitCode.ALREADY_RUNNING)
        if wait_for_stop(_RETRY_SEC):
            lock.close()
            return None
    return InheritedDescriptor(lock.descriptor)
