"""StateLock — whether a daemon is running on a state directory, as its lock tells.

The daemon holds a flock(2) on `mailroomd.lock` as long as any of its processes lives, and writes its process id into
the file. The lock alone decides; the process id is information for people.
"""

__all__ = ["LOCK_NAME", "LockState", "StateLock", "read_lock", "read_state_lock"]

import fcntl
import os
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

LOCK_NAME = "mailroomd.lock"


class LockState(Enum):
    """Whether a daemon has the state directory."""

    FREE = auto()
    HELD = auto()
    ABSENT = auto()
    UNREADABLE = auto()


@dataclass(frozen=True, slots=True)
class StateLock:
    """The state of the lock, and the process id of the daemon that holds it; None if it is unknown."""

    state: LockState
    pid: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether a daemon is running."""
        return self.state is LockState.HELD


def read_state_lock(state_dir: Path) -> StateLock:
    """Returns the state of a state directory's lock."""
    return read_lock(state_dir / LOCK_NAME)


def read_lock(file: Path) -> StateLock:
    """Returns the state of a lock file, which any daemon may hold."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return StateLock(LockState.ABSENT)
    except OSError:
        return StateLock(LockState.UNREADABLE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return StateLock(LockState.HELD, int(text) if text.isascii() and text.isdigit() else None)
    except OSError:
        return StateLock(LockState.UNREADABLE)
    else:
        return StateLock(LockState.FREE)
    finally:
        os.close(descriptor)
