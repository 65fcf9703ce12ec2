"""take_restored — puts a backup in the database's place, at the start of the command-queue.

Owns the staging directory `{state_dir}/restore`, which `mailroom restore` fills in one rename, and the rule: the backup
comes back as it was, and what is newer than it is carried over from the present database. Highest id issued: the
higher of both, so none is given twice. The present database is kept under another name.
Invariant: it may be interrupted anywhere; the next start goes on, and a backup that can't be used changes nothing.
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

REFUSED_NAME = "restore.refused"
_LOG_ENDINGS = ("-wal", "-shm")
_NEWER = ("messages", "receipts", "responses")  # rows whose `id` is a place in the one order
_CARRIED = ("idempotency_keys", "aliases")

_RECOUNT = """
INSERT OR IGNORE INTO mailboxes (name) SELECT DISTINCT recipient FROM messages;
UPDATE mailboxes SET
    total = (SELECT count(*) FROM messages WHERE recipient = name),
    unread = (SELECT count(*) FROM messages WHERE recipient = name AND state < 4);
"""


def take_restored(state_dir: Path, beat: Callable[[], None]) -> bool:
    """Puts a staged backup in place, if there is one; returns whether it did.

    Args:
        beat: called now and then, for the heartbeat.

    Raises:
        OSError: a file can't be renamed.
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
        log.error("backup not restored, the database is as it was", error=str(error))
        return False
    with suppress(OSError):
        for left in staging.iterdir():
            left.unlink()
        staging.rmdir()
    return True


def _complete(staging: Path, present: Path, beat: Callable[[], None]) -> int:
    """Brings the staged database up to date and carries over what is newer; returns how many messages that were."""

    def go_on() -> int:
        beat()
        return 0

    with closing(open_store(staging, beat)) as connection:
        connection.set_progress_handler(go_on, 1_000_000)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the backup is damaged")
        newer = _carry_over(connection, present) if present.exists() else 0
        settle_log(connection)
    return newer


def _carry_over(connection: sqlite3.Connection, present: Path) -> int:
    connection.execute("ATTACH ? AS present", (str(present),))
    version: int = connection.execute("PRAGMA present.user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"the present database has schema version {version}: bring it up to date first")
    mark = "SELECT value FROM {}.meta WHERE name = 'last_id'"
    backup_id: int = connection.execute(mark.format("main")).fetchone()[0]
    present_id: int = connection.execute(mark.format("present")).fetchone()[0]
    connection.execute("BEGIN IMMEDIATE")
    newer = 0
    for table in (*_NEWER, *_CARRIED):
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
        bound = f" WHERE id > {backup_id}" if table in _NEWER else ""
        done = connection.execute(
            f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM present.{table}{bound}"  # noqa: S608
        )
        newer += done.rowcount if table == "messages" else 0
    for statement in filter(str.strip, _RECOUNT.split(";")):
        connection.execute(statement)
    connection.execute(
        "UPDATE main.meta SET value = max(value, ?) WHERE name = 'last_id'", (max(backup_id, present_id),)
    )
    # Nothing counts as synced: the file of what was unread then is written again, rather than taken for read.
    connection.execute("UPDATE main.meta SET value = 0 WHERE name = 'synced_id'")
    connection.execute("COMMIT")
    connection.execute("DETACH present")
    return newer


def _swap(state_dir: Path, staging: Path) -> None:
    present = state_dir / DATABASE_NAME
    if present.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(present, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the last one to close removes the log
        kept = _unused(state_dir / f"{DATABASE_NAME}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        for ending in (*_LOG_ENDINGS, ""):
            with suppress(FileNotFoundError):
                Path(f"{present}{ending}").replace(f"{kept}{ending}")
        log.info("the database before the restoring is kept", path=str(kept))
    (staging / DATABASE_NAME).replace(present)
    handle = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unused(path: Path) -> Path:
    """Returns the path, or one like it, at which nothing is."""
    number, free = 1, path
    while free.exists():
        free = path.with_name(f"{path.name}.{number}")
        number += 1
    return free
