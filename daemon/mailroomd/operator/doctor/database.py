"""Database — can it be read, does this version know its schema, and is it sound?

Everything is read-only and beside the daemon: a reader holds up no writer, only the log cannot shrink meanwhile.
"""

__all__ = ["KNOWN_SCHEMA", "check", "open_for_reading"]

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.places import Places

KNOWN_SCHEMA = 3  # what this version's daemon writes
LARGE_LOG_BYTES = 1 << 30  # the daemon empties the log long before, unless somebody reads all the time
MAX_FAULTS = 10


def check(places: Places) -> Iterator[Finding]:
    """Looks at the database and its log."""
    if (places.state_dir / "fsync-failed").exists():
        yield problem(
            "disk", "writing to it failed (fsync), and nothing has been settled since", "check it: dmesg, smartctl"
        )
    if not places.database.exists():
        yield ok("database", f"there is none yet in {places.state_dir}")
        return
    try:
        with closing(open_for_reading(places.database)) as connection:
            yield _schema(connection)
            yield _integrity(connection, places.database)
    except sqlite3.DatabaseError as error:
        code = getattr(
            error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT
        )  # Python's own words have none: text that is none
        is_damaged = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        advice = _way_back(places.database) if is_damaged else "check its mode, its owner and its disk"
        yield problem("database", f"{places.database} cannot be read: {error}", advice)
    yield from _log(places)


def open_for_reading(database: Path) -> sqlite3.Connection:
    """Opens it so that nothing can be changed.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except UnicodeDecodeError as error:  # what SQLite says of a damaged schema quotes it
        connection.close()
        raise sqlite3.DatabaseError("the schema holds text that is none") from error
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _schema(connection: sqlite3.Connection) -> Finding:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > KNOWN_SCHEMA:
        return problem(
            "database schema",
            f"its version is {found}, this installation knows {KNOWN_SCHEMA}",
            "install the newer version again, or restore a backup from before the upgrade",
        )
    if found < KNOWN_SCHEMA:
        advice = f"restart `mailroomd`, which brings it to version {KNOWN_SCHEMA}"
        return warning("database schema", f"its version is {found}", advice)
    return ok("database schema", f"version {found}")


def _integrity(connection: sqlite3.Connection, database: Path) -> Finding:
    faults = [row[0] for row in connection.execute(f"PRAGMA quick_check({MAX_FAULTS})")]
    if faults == ["ok"]:
        return ok("database", f"{database} is sound, {database.stat().st_size / 1e6:,.1f} MB")
    return problem("database", f"{database} is damaged: {'; '.join(map(str, faults))}", _way_back(database))


def _way_back(database: Path) -> str:
    return (
        f"stop `mailroomd`, keep a copy of {database.parent}, and restore a backup, or what "
        f"`sqlite3 {database} .recover` saves; or else move {database.name}* away and start: "
        "unread mail is in inbox/, a file for each message"
    )


def _log(places: Places) -> Iterator[Finding]:
    log = places.database.with_name(places.database.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LARGE_LOG_BYTES:
        yield warning(
            "database log",
            f"{log} has {size / 1e6:,.0f} MB",
            "end what reads the database for long (a backup, a shell)",
        )
