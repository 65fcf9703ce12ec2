"""Schema — does the database have the tables and indexes that the daemon creates, and nothing else?

A trigger runs with each write of the daemon, so it can change and forge messages. The comparison is with a new
database: by columns, not by text, because an upgraded table has its columns in another order. Not here: the version and
the pages (`database`), the rows (`rows`).
"""

__all__ = ["check", "has_current_version", "readable_tables"]

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.database.schema import SCHEMA_VERSION, upgrade

MAX_OBJECTS = 1000  # that are compared; Mailroom has some thirty
MAX_NAMED = 10


class _Object(NamedTuple):
    """A table, an index, a view or a trigger.

    Attributes:
        shape: what makes two of them equal; empty if it is not compared.
    """

    kind: str
    shape: frozenset[tuple[object, ...]] | str = ""
    is_unique: bool = False


def check(installation: Installation) -> Iterator[Finding]:
    """Compares the schema. Reports nothing if the database cannot be read, which its own check reports."""
    if not installation.database.exists():
        return
    try:
        with closing(open_read_only(installation.database)) as connection:
            if not has_current_version(connection):
                return  # the daemon upgrades it, or refuses it
            present, expected = _objects(connection), _expected()
    except sqlite3.Error:
        return
    findings = [*_missing(present, expected), *_unexpected(present, expected, installation.database)]
    yield from findings[:MAX_NAMED]
    if not findings:
        yield ok("database tables", f"the {len(expected)} tables and indexes of version {SCHEMA_VERSION}")


def has_current_version(connection: sqlite3.Connection) -> bool:
    """Returns whether a database has the schema version that this version of Mailroom writes."""
    return connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION


def readable_tables(connection: sqlite3.Connection) -> set[str]:
    """Returns the names of the tables that are as the daemon creates them.

    Raises:
        sqlite3.Error: the schema cannot be read.
    """
    present = _objects(connection)
    return {name for name, known in _expected().items() if known.kind == "table" and present.get(name) == known}


def _missing(present: dict[str, _Object], expected: dict[str, _Object]) -> Iterator[Finding]:
    for name, known in expected.items():
        found = present.get(name)
        if found == known:
            continue
        summary = (
            f"the {known.kind} {name} is missing" if found is None else f"{name} is not the {known.kind} of Mailroom"
        )
        if known.kind == "table":
            advice = "stop `mailroomd`, keep a copy of the state directory, and restore a backup (`mailroom restore`)"
            yield problem("database tables", summary, advice)
        else:
            advice = "rebuild the database: `mailroom backup mail.db`, then `mailroom restore mail.db`"
            yield warning("database tables", summary, advice)


def _unexpected(present: dict[str, _Object], expected: dict[str, _Object], database: Path) -> Iterator[Finding]:
    for name, found in present.items():
        if name in expected:
            continue
        quoted = '"' + name.replace('"', '""') + '"'
        command = f"sqlite3 {shlex.quote(str(database))} {shlex.quote(f'DROP {found.kind.upper()} {quoted}')}"
        advice = f"stop `mailroomd`, run {command}, and find out which program wrote to the database"
        if found.kind == "trigger":
            yield problem("database tables", f"the trigger {name} can change and forge messages", advice)
        elif found.is_unique:
            yield problem("database tables", f"the unique index {name} can make the daemon refuse messages", advice)
        else:
            yield warning("database tables", f"the {found.kind} {name} does not belong to Mailroom", advice)


@cache
def _expected() -> dict[str, _Object]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade(connection, 0, lambda: None)
        return _objects(connection)


def _objects(connection: sqlite3.Connection) -> dict[str, _Object]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT ?"
    return {
        name: _object(connection, str(kind), name, table, str(sql))
        for kind, name, table, sql in connection.execute(query, (MAX_OBJECTS,)).fetchall()
    }


def _object(connection: sqlite3.Connection, kind: str, name: str, table: str, sql: str) -> _Object:
    if kind == "table" and sql.upper().startswith("CREATE VIRTUAL TABLE"):
        return _Object(kind, " ".join(sql.split()))
    if kind == "table":  # position and default of a column depend on the upgrades that the table has seen
        columns = connection.execute('SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?)', (name,))
        return _Object(kind, frozenset(columns.fetchall()))
    if kind == "index":
        columns = connection.execute("SELECT seqno, name FROM pragma_index_info(?)", (name,)).fetchall()
        properties = 'SELECT "unique", partial FROM pragma_index_list(?) WHERE name = ?'
        is_unique, is_partial = connection.execute(properties, (table, name)).fetchone() or (0, 0)
        return _Object(kind, frozenset([*columns, ("table", table), ("partial", is_partial)]), bool(is_unique))
    return _Object(kind)
