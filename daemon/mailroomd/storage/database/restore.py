"""Restore — replaces the database with a staged backup, at the start of the command-queue.

Owns the staging directory `{state_dir}/restore`, which `mailroom restore` fills in one rename, and the rule: the mail
of the backup comes back, everything newer is carried over from the present database, and aliases are those of the
present one. The highest id issued is the higher of both, so no id is used twice. The present database is kept under
another name.
Not here: the reading and checking of rows (`backup_rows`). Above: `command_queue.opening`.
Invariant: it may be interrupted anywhere, and the next start continues; an unusable backup changes nothing.
"""

__all__ = ["take_restored"]

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from mailroomd.model.settings import RESTORE_DIRECTORY
from mailroomd.observability.log import log
from mailroomd.storage.database.backup_rows import TABLES, UnusableBackup, check_tables, copy_rows, mark_of
from mailroomd.storage.database.connection import DATABASE_NAME, DatabaseTooNew, open_offline, open_store
from mailroomd.storage.database.schema import SCHEMA_VERSION
from mailroomd.storage.database.state_conditions import OVERDUE, UNREAD

BEAT_EVERY_STEPS = 1_000_000  # of SQLite's virtual machine: some 20 ms
REFUSED_NAME = "restore.refused"
_BUILDING, _BUILT = "building", "built.db"  # in the staging directory
_LOG_SUFFIXES = ("-wal", "-shm")
_SEQUENCED = ("messages", "receipts", "responses", "deadlines")  # their rows are newer than a backup if their id is
_KEYS = ("idempotency_keys", "request_keys")
_OTHER_HOSTS = ("forward_queue", "links", "departures", "arrivals", "origins")  # those of the present hold, row by row

# A deadline of the backup may have been settled since.
_CONCLUDE = f"""
INSERT OR IGNORE INTO mailboxes (name) SELECT DISTINCT recipient FROM messages;
UPDATE mailboxes SET
    total = (SELECT count(*) FROM messages WHERE recipient = name),
    unread = (SELECT count(*) FROM messages WHERE recipient = name AND {UNREAD});
DELETE FROM deadlines WHERE id IN (SELECT message_id FROM receipts WHERE state = {OVERDUE})
    OR (id, sender, recipient) IN (SELECT in_reply_to, recipient, sender FROM messages WHERE in_reply_to > 0);
UPDATE meta SET value = max(
    value,
    (SELECT coalesce(max(id) + 1, 0) FROM messages),
    (SELECT coalesce(max(id), 0) FROM receipts),
    (SELECT coalesce(max(id), 0) FROM responses)
) WHERE name = 'last_id';
"""  # noqa: S608 - own text


def take_restored(state_dir: Path, beat: Callable[[], None]) -> bool:
    """Puts a staged backup in place, if there is one; returns whether it did.

    A backup that cannot be used is set aside, with an error in the log.

    Args:
        beat: called periodically, for the heartbeat.
    """
    staging, present = state_dir / RESTORE_DIRECTORY, state_dir / DATABASE_NAME
    try:
        if not staging.is_dir():
            return False
        built = staging / _BUILT
        if not built.exists() and (staging / DATABASE_NAME).exists():
            newer = _build(staging, present, beat)
            log.info("backup checked and copied", newer_messages_kept=newer)
        if built.exists():
            _swap(built, present)
            log.warning("database restored from a backup")
    except (sqlite3.Error, DatabaseTooNew, OSError) as error:
        log.error("backup not restored, database unchanged", error=str(error))
        with suppress(OSError):
            staging.replace(_unused(state_dir / REFUSED_NAME))
        return False
    shutil.rmtree(staging, ignore_errors=True)
    return True


def _build(staging: Path, present: Path, beat: Callable[[], None]) -> int:
    """Makes the new database, whole, under its name in the staging directory; returns how many messages are newer."""
    building = staging / _BUILDING
    shutil.rmtree(building, ignore_errors=True)  # a start that was interrupted left it
    building.mkdir(mode=0o700)
    with closing(open_store(building, beat)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # a start that is interrupted builds it anew
        target.execute("PRAGMA synchronous = OFF")
        target.execute("BEGIN IMMEDIATE")
        with closing(_open_backup(staging / DATABASE_NAME, beat)) as backup:
            newer = 0
            backup_id = mark_of(backup, "last_id")
            if present.exists():
                with closing(open_offline(present)) as source:
                    newer = _carry_over(source, target, backup_id, beat)
            else:
                copy_rows(backup, target, TABLES["aliases"], beat)
            for name in (*_SEQUENCED, *_KEYS, *_OTHER_HOSTS, "mailboxes", "cleared_files"):
                copy_rows(backup, target, TABLES[name], beat)
            _raise_last_id(target, backup_id)
        for statement in filter(str.strip, _CONCLUDE.split(";")):
            target.execute(statement)
        target.execute("COMMIT")
    _sync(building / DATABASE_NAME)
    (building / DATABASE_NAME).replace(staging / _BUILT)
    _sync(staging)
    return newer


def _open_backup(path: Path, beat: Callable[[], None]) -> sqlite3.Connection:
    """Opens a backup for reading.

    Raises:
        DatabaseTooNew: a newer daemon wrote it.
        sqlite3.Error: it cannot be used.
    """

    def continue_after_beat() -> int:
        beat()
        return 0

    connection = open_offline(path)
    try:
        connection.set_progress_handler(continue_after_beat, BEAT_EVERY_STEPS)
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise DatabaseTooNew(path, version)
        if version < 1:
            raise UnusableBackup("it is not a database of mailroomd")
        check_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _carry_over(
    source: sqlite3.Connection, target: sqlite3.Connection, backup_id: int, beat: Callable[[], None]
) -> int:
    """Copies what is newer than the backup from the present database; returns how many messages that are."""
    version: int = source.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise UnusableBackup(f"the present database has schema version {version}: start mailroomd without it first")
    try:
        newer = {name: copy_rows(source, target, TABLES[name], beat, after_id=backup_id) for name in _SEQUENCED}
        for name in (*_OTHER_HOSTS, "aliases", "idempotency_keys", "mailboxes"):
            copy_rows(source, target, TABLES[name], beat)
        _raise_last_id(target, mark_of(source, "last_id"))
    except UnusableBackup as error:
        raise UnusableBackup(
            f"the present database cannot be read ({error}): move it away to restore without it"
        ) from error
    return newer["messages"]


def _raise_last_id(target: sqlite3.Connection, last_id: int) -> None:
    target.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'last_id'", (last_id,))


def _swap(built: Path, present: Path) -> None:
    """Puts the new database in the place of the present one, which is kept; puts that one back on an error.

    Raises:
        OSError: a file cannot be renamed; everything is as it was.
    """
    kept: Path | None = None
    if present.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(present, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the last connection to close removes it
        kept = _unused(present.with_name(f"{DATABASE_NAME}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"))
        _rename_with_log(present, kept)
        log.info("previous database kept", path=str(kept))
    try:
        built.replace(present)
    except OSError:
        if kept is not None:
            _rename_with_log(kept, present)
        raise
    _sync(present.parent)


def _rename_with_log(source: Path, target: Path) -> None:
    for suffix in (*_LOG_SUFFIXES, ""):
        with suppress(FileNotFoundError):
            Path(f"{source}{suffix}").replace(f"{target}{suffix}")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unused(path: Path) -> Path:
    """Returns the path, or one like it, that does not exist."""
    number, free = 1, path
    while free.exists():
        free = path.with_name(f"{path.name}.{number}")
        number += 1
    return free
