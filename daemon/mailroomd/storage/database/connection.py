"""Connection — opens `mailroom.db` for its writer and its readers, and classifies SQLite's errors.

Owns the pragmas, the check of the schema's version, and the classes of errors: full, damaged, lost write.
Not here: the schema (`storage.database.schema`), what is written (`MessageStore`) and read (`MessageArchive`).
Invariant: a commit on the writer's connection is fsynced when it returns, unless `set_lazy` is in force.
"""

__all__ = [
    "DATABASE_NAME",
    "DamagedRow",
    "DatabaseTooNew",
    "LogInUse",
    "checkpoint",
    "clear_lost_write",
    "has_lost_write",
    "is_damaged",
    "is_full",
    "is_lost_write",
    "is_of_input",
    "mark_lost_write",
    "open_archive",
    "open_offline",
    "open_store",
    "set_lazy",
    "settle_log",
]

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mailroomd.storage.database.foreign_objects import check_schema, check_triggers, deny_triggers
from mailroomd.storage.database.reserve import has_room
from mailroomd.storage.database.schema import SCHEMA_VERSION, upgrade

DATABASE_NAME = "mailroom.db"
LOST_WRITE_MARK = "fsync-failed"  # a file beside the database: nothing can be trusted before its log is settled
SETTLE_TIMEOUT_MS = 500  # that a start waits for readers; a backup may read for longer, and mail should not wait for it
BUSY_TIMEOUT_SEC = 5.0  # there is no other writer; a checkpoint or a backup may hold a lock for a moment
ROOM_BYTES = 256 << 10  # a disk with less is full: a transaction of many small messages needs as much


class DatabaseTooNew(Exception):  # noqa: N818 - a condition, not a defect
    """A newer version of the daemon wrote the database."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} has schema version {version}; this mailroomd knows versions up to {SCHEMA_VERSION}: "
            "install the newer mailroomd again, or restore a backup from before the upgrade"
        )


class DamagedRow(sqlite3.DatabaseError):
    """A row, of a table or of the schema, that no version of the daemon writes."""


class LogInUse(sqlite3.OperationalError):
    """The log cannot be settled now: another process, such as a backup, reads the database."""


def open_store(state_dir: Path, beat: Callable[[], None] = lambda: None) -> sqlite3.Connection:
    """Opens the database for its only writer, and creates it if it is new. After a crash, call `settle_log`.

    Args:
        beat: called while an old database is upgraded, for the heartbeat.

    Raises:
        DatabaseTooNew: a newer daemon wrote it; nothing was changed.
        ForeignObject: another program made a trigger, view or table in it; nothing was executed.
        sqlite3.Error: it cannot be opened.
    """
    path = state_dir / DATABASE_NAME
    connection = _connect(f"file:{_quoted(path)}?mode=rwc")
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise DatabaseTooNew(path, version)
        _read_schema(connection)
        check_triggers(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the checkpointer does it, on a connection of its own
        connection.execute("PRAGMA temp_store = MEMORY")  # a service may have no directory for temporary files
        connection.execute("PRAGMA cache_size = -16384")  # 16 MiB: the tails of the indexes stay hot
        upgrade(connection, version, beat)
        check_schema(connection, path)
        deny_triggers(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def settle_log(connection: sqlite3.Connection) -> None:
    """Makes everything in the write-ahead log durable in the database file itself.

    After a failed fsync this must succeed before anything can be trusted again.

    Raises:
        LogInUse: another process reads the database.
        sqlite3.Error: the log is not settled.
    """
    connection.execute(f"PRAGMA busy_timeout = {SETTLE_TIMEOUT_MS}")
    try:
        is_busy, frames, settled = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SEC * 1000:.0f}")
    if is_busy and (frames < 0 or frames != settled):
        raise LogInUse("the write-ahead log cannot be settled: another process reads the database")


def mark_lost_write(state_dir: Path) -> None:
    """Leaves a mark for the next start that an fsync failed: best effort, the daemon is about to exit."""
    with suppress(OSError):
        (state_dir / LOST_WRITE_MARK).touch(mode=0o600)


def has_lost_write(state_dir: Path) -> bool:
    """Returns whether an fsync failed and the log has not been settled since."""
    return (state_dir / LOST_WRITE_MARK).exists()


def clear_lost_write(state_dir: Path) -> None:
    """Removes the mark: everything is settled."""
    with suppress(OSError):
        (state_dir / LOST_WRITE_MARK).unlink(missing_ok=True)


def checkpoint(state_dir: Path) -> int:
    """Copies what it can from the log into the database, concurrently with the writer; returns the pages in the log.

    Raises:
        sqlite3.Error: the database could not be written.
    """
    connection = _connect(f"file:{_quoted(state_dir / DATABASE_NAME)}?mode=rw")
    try:
        return connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    finally:
        connection.close()


def open_archive(state_dir: Path) -> sqlite3.Connection:
    """Opens the database for reading, for use by one thread at a time.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = _connect(f"file:{_quoted(state_dir / DATABASE_NAME)}?mode=ro")
    try:
        connection.execute("PRAGMA query_only = 1")
        _read_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_offline(path: Path) -> sqlite3.Connection:
    """Opens a database file that no process has open, for reading. A log beside it is read, too.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = _connect(f"file:{_quoted(path)}?mode=rw")  # reading a write-ahead log needs an index file beside it
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA trusted_schema = OFF")
        _read_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def set_lazy(connection: sqlite3.Connection, lazy: bool) -> None:
    """Makes the next commits skip the fsync, or not: for changes that a power cut may undo."""
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if lazy else 'FULL'}")


def is_full(error: sqlite3.Error, state_dir: Path | None = None) -> bool:
    """Returns whether the disk (or the quota) is full: nothing was written, and there may be space again later.

    SQLite reports only ENOSPC as "full"; a quota's EDQUOT and a log index that cannot grow look like broken disks. If
    the directory is given, such an error is checked against the space that is left.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    if code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE):
        return state_dir is not None and not has_room(state_dir, ROOM_BYTES)
    return code & 0xFF == sqlite3.SQLITE_FULL


def is_damaged(error: sqlite3.Error) -> bool:
    """Returns whether an error shows that the database no longer holds what was written to it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # Raised by Python, without a code: SQLite does not check the bytes of a text.
    is_unreadable = isinstance(error, DamagedRow) or "Could not decode to UTF-8" in str(error)
    return is_unreadable or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_lost_write(error: sqlite3.Error) -> bool:
    """Returns whether an fsync failed: the kernel may have dropped the data, so nothing can be trusted."""
    lost = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
    return getattr(error, "sqlite_errorcode", 0) in lost


def is_of_input(error: sqlite3.Error) -> bool:
    """Returns whether an error is about a value that was written or a row that was read, not about the database."""
    of_values = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
    return isinstance(error, (*of_values, DamagedRow)) or "Could not decode to UTF-8" in str(error)


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_TIMEOUT_SEC,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _read_schema(connection: sqlite3.Connection) -> None:
    """Makes SQLite read the schema, so that an undecodable one is reported here.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    try:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except UnicodeDecodeError as error:
        raise DamagedRow("the schema is not valid UTF-8") from error


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")
