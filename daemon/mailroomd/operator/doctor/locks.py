"""Locks — who holds the state directory, and which team inboxes are blocked by a lock that was left behind.

Team locks are directories by proper-lockfile's convention: one whose mtime is older than 10 s was left behind, and any
writer may remove it. The state lock is a flock(2), which needs no cleaning up.
"""

__all__ = ["LockState", "check", "state_lock"]

import fcntl
import os
import time
from collections.abc import Iterator
from enum import Enum, auto
from functools import partial
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.places import Places

STALE_SEC = 10.0  # proper-lockfile's default, which every writer shares


class LockState(Enum):
    """Whether a daemon has the state directory."""

    FREE = auto()
    HELD = auto()
    ABSENT = auto()
    UNREADABLE = auto()


def check(places: Places) -> Iterator[Finding]:
    """Looks at the state lock and the locks of team inboxes."""
    yield _state(places)
    stale = [(lock, age_sec) for lock in _team_locks(places.teams) if (age_sec := _age_sec(lock)) > STALE_SEC]
    for lock, age_sec in stale:
        yield _stale_lock(lock, age_sec)
    if not stale:
        yield ok("team locks", "none was left behind")


def state_lock(places: Places) -> tuple[LockState, str]:
    """Returns whether the state directory is taken, and the pid of who took it last."""
    try:
        handle = os.open(places.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return LockState.ABSENT, ""
    except OSError:
        return LockState.UNREADABLE, ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return LockState.HELD, os.pread(handle, 32, 0).decode(errors="replace").strip()
    else:
        return LockState.FREE, ""
    finally:
        os.close(handle)


def _state(places: Places) -> Finding:
    state, pid = state_lock(places)
    match state:
        case LockState.HELD if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            return warning(
                "state lock",
                f"the daemon that took {places.lock} (pid {pid}) is gone, but a process of its own still holds it",
                f"find it with `fuser {places.lock}` and end it, if it does not end by itself",
            )
        case LockState.HELD:
            return ok("state lock", f"mailroomd (pid {pid or 'unknown'}) has {places.state_dir}")
        case LockState.UNREADABLE:
            return problem(
                "state lock", f"{places.lock} cannot be read", f"check its mode and its owner: {places.lock}"
            )
        case _:
            return ok("state lock", f"no daemon has {places.state_dir}")


def _team_locks(teams: Path) -> list[Path]:
    try:
        return sorted(teams.glob("*/inboxes/*.json.lock"))
    except OSError:
        return []


def _age_sec(lock: Path) -> float:
    """Returns how long ago it was renewed; 0 where it was released meanwhile."""
    try:
        return time.time() - lock.lstat().st_mtime
    except OSError:
        return 0.0


def _stale_lock(lock: Path, age_sec: float) -> Finding:
    if lock.is_symlink() or not lock.is_dir():
        return warning("team lock", f"{lock} is no directory, so it blocks every writer", f"rm {lock}")
    summary = f"{lock} was left behind {age_sec:.0f} s ago"
    return warning("team lock", summary, f"rmdir {lock}", partial(_remove_if_stale, lock))


def _remove_if_stale(lock: Path) -> None:
    if _age_sec(lock) > STALE_SEC:
        lock.rmdir()
