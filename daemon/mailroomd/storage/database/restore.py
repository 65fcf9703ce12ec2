"""Restore — replaces the database with a staged backup, at the start of the command-queue.

Owns the staging directory `{state_dir}/restore`, which `mailroom restore` fills in one rename, and the rule: the
content of the backup comes back, and everything newer is carried over from the present database. The highest id issued
is the higher of both, so no id is used twice. The present database is kept under another name.
Invariant: it may be interrupted anywhere, and the next start continues; an unusable backup changes nothing.
"""

__all__ = ["take_restored"]

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from mailroomd.model.settings import RESTORE_DIRECTORY
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import DATABASE_NAME, DatabaseTooNew, open_store, settle_log
from mailroomd.storage.database.schema import SCHEMA_VERSION
from mailroomd.storage.database.state_conditions import UNREAD

BEAT_EVERY_STEPS = 1_000_000  # of SQLite's virtual machine: some 20 ms
REFUSED_NAME = "restore.refused"
_LOG_SUFFIXES = ("-wal", "-shm")
_NEWER = ("messages", "receipts", "responses")  # rows that are identified by their sequence id
_CARRIED = ("idempotency_keys", "aliases")

_RECOUNT = f"""
INSERT OR IGNORE INTO mailboxes (name) SELECT DISTINCT recipient FROM messages;
UPDATE mailboxes SET
    total = (SELECT count(*) FROM messages WHERE recipient = name),
    unread = (SELECT count(*) FROM messages WHERE recipient = name AND {UNREAD});
"""  # noqa: S608 - own text


def take_restored(state_dir: Path, beat: Callable[[], None]) -> bool:
    """Puts a staged backup in place, if there is one; returns whether it did.

    Args:
        beat: called periodically, for the heartbeat.

    Raises:
        OSError: a file cannot be renamed.
    """
    staging = state_dir / RESTORE_DIRECTORY
    if not staging.is_dir():
        return False
    try:
        if (staging / DATABASE_NAME).exists():
            newer = _complete(staging, state_dir / DATABASE_NAME, beat)
            _swap(state_dir, staging)
            log.warning("database restored from a backup", newer_messages_kept=newer)
    except (sqlite3.Error, DatabaseTooNew) as error:
        staging.replace(_unused(state_dir / REFUSED_NAME))
        log.error("backup not restored, database unchanged", error=str(error))
        return False
    with suppress(OSError):
        for file in staging.iterdir():
            file.unlink()
        staging.rmdir()
    return True


def _complete(staging: Path, present: Path, beat: Callable[[], None]) -> int:
    """Upgrades the staged database and carries over newer rows; returns the number of newer messages."""

    def continue_after_beat() -> int:
        beat()
        return 0

    with closing(open_store(staging, beat)) as connection:
        connection.set_progress_handler(continue_after_beat, BEAT_EVERY_STEPS)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the backup is damaged")
        newer = _carry_over(connection, present) if present.exists() else 0
        settle_log(connection)
    return newer


def _carry_over(connection: sqlite3.Connection, present: Path) -> int:
    connection.execute("ATTACH ? AS present", (str(present),))
    version: int = connection.execute("PRAGMA present.user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(
            f"the present database has schema version {version}: start the daemon without the backup first"
        )
    mark = "SELECT value FROM {}.meta WHERE name = 'last_id'"
    backup_id: int = connection.execute(mark.format("main")).fetchone()[0]
    present_id: int = connection.execute(mark.format("present")).fetchone()[0]
    connection.execute("BEGIN IMMEDIATE")
    newer = 0
    for table in (*_NEWER, *_CARRIED):
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
        bound = f" WHERE id > {backup_id}" if table in _NEWER else ""
        copied = connection.execute(
            f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM present.{table}{bound}"  # noqa: S608
        )
        newer += copied.rowcount if table == "messages" else 0
    for statement in filter(str.strip, _RECOUNT.split(";")):
        connection.execute(statement)
    connection.execute(
        "UPDATE main.meta SET value = max(value, ?) WHERE name = 'last_id'", (max(backup_id, present_id),)
    )
    # Nothing counts as synced: a missing file of unread mail is then written again, not taken for read.
    connection.execute("UPDATE main.meta SET value = 0 WHERE name = 'synced_id'")
    connection.execute("COMMIT")
    connection.execute("DETACH present")
    return newer


def _swap(state_dir: Path, staging: Path) -> None:
    present = state_dir / DATABASE_NAME
    if present.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(present, isolation_level=None)) as connection:
            connection.execute(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            ).fetchall()  # the last connection to close removes the log
        kept = _unused(state_dir / f"{DATABASE_NAME}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        for suffix in (*_LOG_SUFFIXES, ""):
            with suppress(FileNotFoundError):
                Path(f"{present}{suffix}").replace(f"{kept}{suffix}")
        log.info("previous database kept", path=str(kept))
    (staging / DATABASE_NAME).replace(present)
    fd = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
