"""Leftovers — temporary files of writers that died; they do no harm but take room.

What is younger than an hour may still be written, so it is left alone.
"""

__all__ = ["check"]

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, warning
from mailroomd.operator.places import Places

OLD_SEC = 3600.0  # no write takes so long
SHOWN = 3  # names in a sentence


def check(places: Places) -> Iterator[Finding]:
    """Looks for temporary files in the inbox, team inboxes and the state directory."""
    candidates = (
        (places.inbox / ".tmp", "*"),
        (places.teams, "*/inboxes/.*.mailroom"),
        (places.state_dir, "addresses.tmp"),
    )
    old = [file for place, pattern in candidates for file in _files(place, pattern) if _is_old(file)]
    if not old:
        yield ok("temporary files", "none was left behind")
        return
    names = ", ".join(str(file) for file in old[:SHOWN]) + (", …" if len(old) > SHOWN else "")
    yield warning("temporary files", f"{len(old)} left behind: {names}", "remove them", lambda: _remove(old))


def _files(place: Path, pattern: str) -> list[Path]:
    try:
        return [path for path in place.glob(pattern) if path.is_file() and not path.is_symlink()]
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
