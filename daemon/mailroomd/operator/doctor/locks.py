"""Locks — the lock of the state directory, and stale locks of team inboxes.

Team locks are directories by proper-lockfile's convention: one whose mtime is older than 10 s is stale, and any writer
may remove it. The lock of the state directory is a flock(2), which never becomes stale.
"""

__all__ = ["check"]

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailroom.state_lock import LockState, read_state_lock

from mailroomd.operator.doctor.below import names_below, open_below
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.storage.team_inbox.directory_lock import STALE_SEC


@dataclass(frozen=True, slots=True)
class _TeamLock:
    """The lock of one team inbox."""

    base: Path
    parts: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return str(self.base.joinpath(*self.parts, self.name))

    def age_sec(self) -> float:
        """Returns how long ago it was renewed; 0 if it was released meanwhile."""
        try:
            with open_below(self.base, *self.parts) as directory:
                return time.time() - os.stat(self.name, dir_fd=directory, follow_symlinks=False).st_mtime
        except OSError:
            return 0.0

    def is_directory(self) -> bool:
        try:
            with open_below(self.base, *self.parts, self.name, flags=os.O_PATH):
                return True
        except OSError:
            return False

    def remove_if_stale(self) -> None:
        if self.age_sec() > STALE_SEC:
            with open_below(self.base, *self.parts) as directory:
                os.rmdir(self.name, dir_fd=directory)


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the state lock and the locks of team inboxes."""
    yield _check_state_lock(installation)
    stale = [(lock, age_sec) for lock in _team_locks(installation) if (age_sec := lock.age_sec()) > STALE_SEC]
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


def _team_locks(installation: Installation) -> Iterator[_TeamLock]:
    """Yields the locks of team inboxes. Links to other places are not followed."""
    teams = installation.teams.name
    for team in names_below(installation.root, teams):
        for name in names_below(installation.root, teams, team, "inboxes"):
            if name.endswith(".json.lock"):
                yield _TeamLock(installation.root, (teams, team, "inboxes"), name)


def _stale_lock(lock: _TeamLock, age_sec: float) -> Finding:
    if not lock.is_directory():
        return warning("team lock", f"{lock} is not a directory, so it blocks every writer", f"rm {lock}")
    summary = f"{lock} is stale, last renewed {age_sec:.0f} s ago"
    return warning("team lock", summary, f"rmdir {lock}", lock.remove_if_stale)
