"""Database — can it be read, does this version know its schema, and are its pages intact?

Not here: its tables (`schema`) and its rows (`rows`).
"""

__all__ = ["check"]

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.database.connection import has_lost_write, is_damaged
from mailroomd.storage.database.schema import SCHEMA_VERSION

LARGE_LOG_BYTES = 1 << 30  # the daemon truncates the log much earlier unless a reader prevents it
MAX_CHECKED_BYTES = 8 << 30  # some 20 s; the pages of a larger database are left to SQLite's own tool
MAX_ERRORS = 10


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the database and its write-ahead log."""
    if has_lost_write(installation.state_dir):
        summary = "a write failed (fsync), and the daemon has not recovered from it yet"
        yield problem("disk", summary, "check the disk (dmesg, smartctl), then restart `mailroomd`")
    database = installation.database
    if not database.exists():
        yield ok("database", f"not created yet in {installation.state_dir}")
        return
    try:
        with closing(open_read_only(database)) as connection:
            yield _check_schema(connection)
            yield _check_integrity(connection, database)
    except sqlite3.Error as error:
        advice = _recovery_advice(database) if _is_damaged(error) else "check its mode, its owner and its disk"
        yield problem("database", f"{database} cannot be read: {error}", advice)
    yield from _check_log(database)


def _is_damaged(error: sqlite3.Error) -> bool:
    return is_damaged(error) or not hasattr(error, "sqlite_errorcode")  # raised by Python: text that is not UTF-8


def _check_schema(connection: sqlite3.Connection) -> Finding:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        return problem(
            "database schema",
            f"version {version}, but this installation supports {SCHEMA_VERSION}",
            "install the newer version of Mailroom again, or restore a backup from before the upgrade",
        )
    if version < SCHEMA_VERSION:
        advice = f"restart `mailroomd`, which upgrades it to version {SCHEMA_VERSION}"
        return warning("database schema", f"version {version}", advice)
    return ok("database schema", f"version {version}")


def _check_integrity(connection: sqlite3.Connection, database: Path) -> Finding:
    size_bytes = database.stat().st_size
    size = f"{size_bytes / 1e6:,.1f} MB"
    if size_bytes > MAX_CHECKED_BYTES:
        command = f"sqlite3 {shlex.quote(str(database))} 'PRAGMA quick_check'"
        return ok("database", f"{database} can be read, {size}: too large to check every page here ({command} does)")
    errors = [row[0] for row in connection.execute(f"PRAGMA quick_check({MAX_ERRORS})")]
    if errors == ["ok"]:
        return ok("database", f"{database} is intact, {size}")
    return problem("database", f"{database} is damaged: {'; '.join(map(str, errors))}", _recovery_advice(database))


def _recovery_advice(database: Path) -> str:
    return (
        f"stop `mailroomd`, keep a copy of {database.parent}, and restore a backup or the output of "
        f"`sqlite3 {database} .recover`; otherwise move {database.name}* away and start `mailroomd`: "
        "unread messages are still in inbox/, one file each"
    )


def _check_log(database: Path) -> Iterator[Finding]:
    log = database.with_name(f"{database.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LARGE_LOG_BYTES:
        yield warning(
            "database log",
            f"{log} has {size / 1e6:,.0f} MB",
            "end the process that has been reading the database for a long time (a backup, a shell)",
        )
