"""Foreign objects — triggers, views and tables in `mailroom.db` that the daemon did not make.

A trigger runs inside the daemon's own writes, so it can forge, change and delete messages. Owns the comparison of the
schema with that of a new database, before the first write, and the authorizer that denies a trigger or view which
another program makes later. An index that is not unique is left alone: it changes no result.
Not here: columns and rows (`mailroom doctor`), backups (`backup_rows`).
Invariant: the writer never executes a trigger.
"""

__all__ = ["ForeignObject", "check_schema", "check_triggers", "deny_triggers"]

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mailroomd.storage.database.schema import upgrade

_OWN_VIEWS = frozenset({"searchable"})  # of schema version 2
SHOWN_CHARS = 80  # of a name


class _Object(NamedTuple):
    kind: str
    name: str


class ForeignObject(Exception):  # noqa: N818 - a condition, not a defect
    """The database has something that could change what the daemon writes."""

    def __init__(self, path: Path, found: _Object) -> None:
        name = ascii(found.name)[1:-1][:SHOWN_CHARS]
        super().__init__(
            f"{path} has the {found.kind} {name}, which is not Mailroom's and could change messages: find out which "
            "program made it, keep a copy of the database, and drop it with sqlite3; `mailroom doctor` has the command"
        )


def check_triggers(connection: sqlite3.Connection, path: Path) -> None:
    """Checks that a database of any version has no trigger or view that its upgrade would execute.

    Raises:
        ForeignObject: it has one.
        sqlite3.Error: the schema cannot be read.
    """
    for found in sorted(_objects(connection)):
        if found.kind == "trigger" or (found.kind == "view" and found.name not in _OWN_VIEWS):
            raise ForeignObject(path, found)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Checks that a database of the current version has no objects but those of a new one.

    Raises:
        ForeignObject: it has others.
        sqlite3.Error: the schema cannot be read.
    """
    for found in sorted(_objects(connection) - _expected()):
        is_of_sqlite = found.name.startswith("sqlite_") and found.kind in ("table", "unique index")
        if found.kind != "index" and not is_of_sqlite:  # ANALYZE makes tables, a primary key makes an index
            raise ForeignObject(path, found)


def deny_triggers(connection: sqlite3.Connection) -> None:
    """Makes every statement fail (SQLITE_AUTH) that would execute a trigger or read a view.

    SQLite asks when it compiles a statement, and compiles again after a change of the schema; a statement that is
    repeated costs nothing.
    """
    connection.set_authorizer(_authorize)


def _authorize(_action: int, _first: str | None, _second: str | None, _database: str | None, inside: str | None) -> int:
    return sqlite3.SQLITE_OK if inside is None else sqlite3.SQLITE_DENY


@cache
def _expected() -> frozenset[_Object]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade(connection, 0, lambda: None)
        return _objects(connection)


def _objects(connection: sqlite3.Connection) -> frozenset[_Object]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    return frozenset(_Object(_kind(str(kind), str(sql)), str(name)) for kind, name, sql in rows)


def _kind(kind: str, sql: str) -> str:
    """Returns the kind of an object; the index of a primary key has no text, and is unique."""
    words = sql.upper().split(maxsplit=2)
    if kind == "table" and words[1:2] == ["VIRTUAL"]:
        return "virtual table"
    return "unique index" if kind == "index" and words[1:2] != ["INDEX"] else kind
