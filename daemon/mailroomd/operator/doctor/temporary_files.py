"""Temporary files — left by writers that died. They are harmless but take space.

A file younger than an hour may still be in use and is left alone. Links are neither followed nor removed.
"""

__all__ = ["check"]

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mailroomd.operator.doctor.below import open_below
from mailroomd.operator.doctor.finding import Finding, ok, warning
from mailroomd.operator.installation import Installation

OLD_SEC = 3600.0  # no write takes this long
MAX_NAMED = 3
_ANY = re.compile(r".+")
_TEAM_INBOX = re.compile(r"\..*\.mailroom")
_ADDRESSES = re.compile(r"addresses\.tmp")


@dataclass(frozen=True, slots=True)
class _OldFile:
    """A file below a trusted directory."""

    base: Path
    parts: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return str(self.base.joinpath(*self.parts, self.name))


def check(installation: Installation) -> Iterator[Finding]:
    """Looks for old temporary files in the inbox, the team inboxes and the state directory."""
    root = installation.root
    old = [
        *_old_files(root, (installation.inbox.name, ".tmp"), _ANY),
        *(file for parts in _team_inboxes(installation) for file in _old_files(root, parts, _TEAM_INBOX)),
        *_old_files(installation.state_dir, (), _ADDRESSES),
    ]
    yield from _linked_staging(installation)
    if not old:
        yield ok("temporary files", "none left behind")
        return
    names = ", ".join(map(str, old[:MAX_NAMED])) + (", …" if len(old) > MAX_NAMED else "")
    yield warning("temporary files", f"{len(old)} left behind: {names}", "remove them", lambda: _remove(old))


def _linked_staging(installation: Installation) -> Iterator[Finding]:
    staging = installation.inbox / ".tmp"
    if staging.is_symlink():
        summary = f"{staging} is a symbolic link, so no message can be filed"
        yield warning("temporary files", summary, f"rm {staging}; `mailroomd` creates a directory in its place")


def _team_inboxes(installation: Installation) -> list[tuple[str, ...]]:
    try:
        with open_below(installation.root, installation.teams.name) as teams:
            return [(installation.teams.name, team, "inboxes") for team in sorted(os.listdir(teams))]  # noqa: PTH208
    except OSError:
        return []


def _old_files(base: Path, parts: tuple[str, ...], pattern: re.Pattern[str]) -> list[_OldFile]:
    try:
        with open_below(base, *parts) as directory:
            names = [name for name in os.listdir(directory) if pattern.fullmatch(name)]  # noqa: PTH208 - a descriptor
            return [_OldFile(base, parts, name) for name in sorted(names) if _is_old(name, directory)]
    except OSError:
        return []


def _is_old(name: str, directory: int) -> bool:
    with suppress(OSError):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > OLD_SEC
    return False


def _remove(files: Iterable[_OldFile]) -> None:
    for file in files:
        with open_below(file.base, *file.parts) as directory:
            if _is_old(file.name, directory):
                os.unlink(file.name, dir_fd=directory)
