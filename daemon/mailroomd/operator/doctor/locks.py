"""Locks — the lock of the state directory, and stale locks of team inboxes.

Team locks are directories by proper-lockfile's convention: one whose mtime is older than 10 s is stale, and any writer
may remove it. The lock of the state directory is a flock(2), which never becomes stale.
"""

__all__ = ["check"]

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mailroom.state_lock import LockState, read_state_lock

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.storage.team_inbox.directory_lock import STALE_SEC


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the state lock and the locks of team inboxes."""
    yield _check_state_lock(installation)
    stale = [(lock, age_sec) for lock in _team_locks(installation.teams) if (age_sec := _age_sec(lock)) > STALE_SEC]
    for lock, age_sec in stale:
        yield _stale_lock(lock, age_sec)
    if not stale:
        yield ok("team locks", "none left behind")


def _check_state_lock(installation: Installation) -> Finding:
    path, lock = installation.lock, read_state_lock(installation.state_dir)
    match lock.state:
        case LockState.HELD if lock.pid and not Path(f"/proc/{lock.pid}").exists():
            return warning(
                "state lock",
                f"the daemon that locked {path} (pid {lock.pid}) has ended, but one of its processes still holds it",
                f"find the process with `fuser {path}`, and end it if it does not end by itself",
            )
        case LockState.HELD:
            return ok("state lock", f"held by mailroomd (pid {lock.pid or 'unknown'})")
        case LockState.UNREADABLE:
            return problem("state lock", f"{path} cannot be read", f"check the mode and the owner of {path}")
        case _:
            return ok("state lock", f"free: no daemon is running on {installation.state_dir}")


def _team_locks(teams: Path) -> list[Path]:
    try:
        return sorted(teams.glob("*/inboxes/*.json.lock"))
    except OSError:
        return []


def _age_sec(lock: Path) -> float:
    """Returns how long ago a lock was renewed; 0 if it was released meanwhile."""
    try:
        return time.time() - lock.lstat().st_mtime
    except OSError:
        return 0.0


def _stale_lock(lock: Path, age_sec: float) -> Finding:
    if lock.is_symlink() or not lock.is_dir():
        return warning("team lock", f"{lock} is not a directory, so it blocks every writer", f"rm {lock}")
    summary = f"{lock} is stale, last renewed {age_sec:.0f} s ago"
    return warning("team lock", summary, f"rmdir {lock}", partial(_remove_if_stale, lock))


def _remove_if_stale(lock: Path) -> None:
    if _age_sec(lock) > STALE_SEC:
        lock.rmdir()
