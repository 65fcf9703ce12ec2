"""Backups — checked copies of the daemon's database, made while it runs.

Owns the copying (SQLite's online backup of one snapshot) and the check of a copy. Not here: restoring one
(`operator.restore`).
Invariant: a file under its final name is complete, checked and on disk, and only its owner can read it. Nothing but a
backup is replaced without `force`, and a file of a state directory never is.
"""

__all__ = ["BackupUnusableError", "DatabaseSummary", "back_up", "copy_database", "inspect_backup", "summarize", "sync"]

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mailroom.state_lock import LOCK_NAME

from mailroomd.model.states import DeliveryState
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.database.schema import SCHEMA_VERSION

PAGES_PER_STEP = 2000  # 8 MB, small enough to show progress
_SQLITE_SUFFIXES = ("", "-journal", "-wal", "-shm")


class BackupUnusableError(OSError):
    """The file is not a backup that this version can restore; the message says why."""


@dataclass(frozen=True, slots=True)
class DatabaseSummary:
    """The contents of one database.

    Attributes:
        last_id: the highest id that was issued; newer messages have higher ids.
        messages: the number of messages.
        unread: the number of unread messages.
    """

    last_id: int
    messages: int
    unread: int


def back_up(
    installation: Installation,
    target: Path,
    *,
    force: bool = False,
    report_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> DatabaseSummary:
    """Copies the daemon's database to a file. The copy shows one instant, and the daemon may write meanwhile.

    Args:
        installation: the daemon.
        target: the file to write; an existing backup is replaced.
        force: also replace a file that is not a backup.
        report_progress: called with the number of copied pages and of all pages.

    Raises:
        BackupUnusableError: the copy is damaged; the target is unchanged.
        OSError: the database cannot be read, or the target cannot or must not be written; the target is unchanged.
    """
    _check_target(target, installation.state_dir, force=force)
    return copy_database(installation.database, target, report_progress)


def copy_database(
    database: Path, target: Path, report_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> DatabaseSummary:
    """Copies a database to a file without looking at what the file was; otherwise like `back_up`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)  # O_EXCL, 0600
    part = Path(name)
    try:
        _copy(database, part, report_progress)
        summary = inspect_backup(part)
        if not os.path.samestat(os.fstat(descriptor), part.lstat()):
            raise OSError(f"{part} was replaced by another program: choose a directory that only you can write to")
        os.fsync(descriptor)
        part.replace(target)
    except sqlite3.Error as error:
        raise OSError(f"cannot copy {database}: {error} (see `mailroom doctor`)") from error
    finally:
        os.close(descriptor)
        for suffix in _SQLITE_SUFFIXES:
            Path(f"{part}{suffix}").unlink(missing_ok=True)
    sync(target.absolute().parent)
    return summary


def inspect_backup(file: Path) -> DatabaseSummary:
    """Checks a backup and returns what it contains.

    Raises:
        BackupUnusableError: the file is damaged, or not a backup that this version knows.
    """
    if file.exists() and not file.is_file():  # SQLite would wait for the writer of a named pipe
        raise BackupUnusableError(f"{file} is not a backup of Mailroom: it is not a regular file")
    try:
        with closing(open_read_only(file)) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if not 0 < version <= SCHEMA_VERSION:
                raise BackupUnusableError(
                    f"{file} has schema version {version}, but this version of Mailroom supports 1 to {SCHEMA_VERSION}"
                )
            result = connection.execute("PRAGMA quick_check(1)").fetchone()
            if result != ("ok",):
                raise BackupUnusableError(f"{file} is damaged: {result[0]}")
            return summarize(connection)
    except sqlite3.Error as error:
        raise BackupUnusableError(f"{file} is not a backup of Mailroom: {error}") from error


def summarize(connection: sqlite3.Connection) -> DatabaseSummary:
    """Returns the contents of an open database.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    execute = connection.execute
    last_id: int = execute("SELECT value FROM meta WHERE name = 'last_id'").fetchone()[0]
    messages, unread = execute(
        "SELECT count(*), count(*) FILTER (WHERE state < ?) FROM messages", (DeliveryState.READ,)
    ).fetchone()
    return DatabaseSummary(last_id, messages, unread)


def sync(path: Path) -> None:
    """Flushes a file or a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_target(target: Path, state_dir: Path, *, force: bool) -> None:
    """Refuses a target that is not a backup, and in any case a file of a state directory."""
    if _is_state_directory(target.parent, state_dir) or _is_state_file(target, state_dir):
        raise OSError(f"{target} belongs to the state directory of a daemon: choose another place for the backup")
    if force or not os.path.lexists(target):
        return
    if not stat.S_ISREG(target.lstat().st_mode):
        raise OSError(f"{target} is not a regular file: choose another name, or replace it with --force")
    try:
        inspect_backup(target)
    except BackupUnusableError as error:
        raise OSError(f"{error}: choose another name, or replace it with --force") from error


def _is_state_directory(directory: Path, state_dir: Path) -> bool:
    if (directory / LOCK_NAME).exists():
        return True
    return state_dir.exists() and directory.exists() and directory.samefile(state_dir)


def _is_state_file(target: Path, state_dir: Path) -> bool:
    """Returns whether the target is a hard link or a symbolic link to a file of the state directory."""
    if not target.exists() or not state_dir.exists():
        return False
    return any(target.samefile(file) for file in state_dir.iterdir() if file.exists())


def _copy(database: Path, part: Path, report_progress: Callable[[int, int], None]) -> None:
    with closing(open_read_only(database)) as source, closing(sqlite3.connect(part)) as copy:
        # A transaction holds the snapshot. Without it the copy would start over with each change.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM meta").fetchone()
        source.backup(copy, pages=PAGES_PER_STEP, progress=lambda _, left, total: report_progress(total - left, total))
        copy.execute("PRAGMA journal_mode = DELETE")  # a single file, without a log beside it
