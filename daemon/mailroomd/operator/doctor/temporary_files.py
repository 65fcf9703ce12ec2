"""Temporary files — left by writers that died. They are harmless but take space.

A file younger than an hour may still be in use and is left alone.
"""

__all__ = ["check"]

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailroomd.operator.doctor.finding import Finding, ok, warning
from mailroomd.operator.installation import Installation

OLD_SEC = 3600.0  # no write takes this long
MAX_NAMED = 3


def check(installation: Installation) -> Iterator[Finding]:
    """Looks for old temporary files in the inbox, the team inboxes and the state directory."""
    patterns = (
        (installation.inbox / ".tmp", "*"),
        (installation.teams, "*/inboxes/.*.mailroom"),
        (installation.state_dir, "addresses.tmp"),
    )
    old = [file for directory, pattern in patterns for file in _files(directory, pattern) if _is_old(file)]
    if not old:
        yield ok("temporary files", "none left behind")
        return
    names = ", ".join(str(file) for file in old[:MAX_NAMED]) + (", …" if len(old) > MAX_NAMED else "")
    yield warning("temporary files", f"{len(old)} left behind: {names}", "remove them", lambda: _remove(old))


def _files(directory: Path, pattern: str) -> list[Path]:
    try:
        return [path for path in directory.glob(pattern) if path.is_file() and not path.is_symlink()]
    except OSError:
        return []


def _is_old(file: Path) -> bool:
    try:
        return time.time() - file.lstat().st_mtime > OLD_SEC
    except OSError:
        return False


def _remove(files: Iterable[Path]) -> None:
    for file in filter(_is_old, files):
        file.unlink(missing_ok=True)
