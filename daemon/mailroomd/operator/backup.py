"""Backups — copies of the daemon's database, made while it runs, and the way back.

Owns the copying (SQLite's online backup of one snapshot), its check, and the staging of a backup for the daemon: it
takes `{state_dir}/restore` at the command-queue's start, carries over what is newer, and keeps the database that was.
Not here: where things are (`doctor.places`), the swap (the daemon's).
Invariant: a file under its final name is whole, checked and on the disk.
"""

__all__ = [
    "Backup",
    "BackupUnusableError",
    "Standing",
    "back_up",
    "examine",
    "is_staged",
    "refused",
    "stage",
    "standing_of",
]

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mailroomd.operator.doctor.database import KNOWN_SCHEMA, open_for_reading
from mailroomd.operator.places import Places

PAGES = 2000  # copied at once: 8 MB, so that progress is seen
_STAGING, _PART, _REFUSED = "restore", "restore.part", "restore.refused"


class BackupUnusableError(OSError):
    """A file is no backup that this version can restore; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What is in one database.

    Attributes:
        last_id: the highest id that was issued; what is newer has a higher one.
        messages: how many there are.
        unread: how many of them nobody has acknowledged.
    """

    last_id: int
    messages: int
    unread: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A backup beside the present database: `newer` messages came after it, `present` is None where there is none."""

    backup: Backup
    present: Backup | None
    newer: int


def back_up(database: Path, target: Path, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Backup:
    """Copies a database to a file, which appears whole; the daemon may write meanwhile, the copy is of one instant.

    Args:
        database: the daemon's.
        target: the file; one that is there is replaced.
        progress: told how many pages are copied, and of how many.

    Raises:
        BackupUnusableError: what was copied is damaged; nothing is left.
        OSError, sqlite3.Error: it can't be read or written; nothing is left.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with closing(open_for_reading(database)) as source, closing(sqlite3.connect(part)) as copy:
            # A transaction of its own holds the snapshot: a copy of what changes would begin anew with each change.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM meta").fetchone()
            source.backup(copy, pages=PAGES, progress=lambda _, left, pages: progress(pages - left, pages))
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        found = examine(part)
        _sync(part)
        part.replace(target)
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            Path(f"{part}{ending}").unlink(missing_ok=True)
    _sync(target.absolute().parent)
    return found


def examine(file: Path) -> Backup:
    """Checks a backup and says what is in it.

    Raises:
        BackupUnusableError: it is damaged, or none that this version knows.
    """
    try:
        with closing(open_for_reading(file)) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if not 0 < version <= KNOWN_SCHEMA:
                raise BackupUnusableError(
                    f"{file} has schema version {version}, this mailroom knows 1 to {KNOWN_SCHEMA}"
                )
            faults = connection.execute("PRAGMA quick_check(1)").fetchone()
            if faults != ("ok",):
                raise BackupUnusableError(f"{file} is damaged: {faults[0]}")
            return _contents(connection)
    except sqlite3.Error as error:
        raise BackupUnusableError(f"{file} is no backup of a mail room: {error}") from error


def standing_of(file: Path, places: Places) -> Standing:
    """Returns what restoring a backup would change.

    Raises:
        BackupUnusableError: it can't be restored.
        sqlite3.Error: the present database can't be read.
    """
    backup = examine(file)
    if not places.database.exists():
        return Standing(backup, None, 0)
    with closing(open_for_reading(places.database)) as connection:
        newer = connection.execute("SELECT count(*) FROM messages WHERE id > ?", (backup.last_id,)).fetchone()[0]
        return Standing(backup, _contents(connection), newer)


def stage(file: Path, places: Places) -> None:
    """Leaves a copy of a backup where the daemon takes it: at once if it runs, else when it starts.

    Raises:
        FileExistsError: another one waits there already.
        OSError: it can't be written.
    """
    part, staging = places.state_dir / _PART, places.state_dir / _STAGING
    if staging.exists():
        raise FileExistsError(f"another backup waits in {staging}: start mailroomd, or remove it")
    part.mkdir(mode=0o700, exist_ok=True)
    back_up(file, part / places.database.name)
    part.replace(staging)
    _sync(places.state_dir)


def is_staged(places: Places) -> bool:
    """Returns whether a backup waits for the daemon."""
    return (places.state_dir / _STAGING).exists()


def refused(places: Places) -> int:
    """Returns how many backups the daemon has put aside because it could not use them."""
    return len(list(places.state_dir.glob(f"{_REFUSED}*")))


def _contents(connection: sqlite3.Connection) -> Backup:
    read = connection.execute
    last_id: int = read("SELECT value FROM meta WHERE name = 'last_id'").fetchone()[0]
    messages, unread = read("SELECT count(*), count(*) FILTER (WHERE state < 4) FROM messages").fetchone()
    return Backup(last_id, messages, unread)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
