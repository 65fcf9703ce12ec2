"""Rows — do the rows of the database hold what the daemon writes?

SQLite checks pages, not values: a damaged state or text is found only by reading the row. Each row is checked as it is
for a restore. Only the newest rows are read, and no more than a few seconds take; the finding says how many those were.
Not here: tables that are not as the daemon creates them (`schema`).
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["check"]

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mailroomd.model.errors import MailroomError
from mailroomd.model.ids import format_id
from mailroomd.operator.doctor.finding import Finding, ok, problem
from mailroomd.operator.doctor.schema import has_current_version, readable_tables
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.database.backup_rows import TABLES, Row, Table, UnusableBackup, mark_of
from mailroomd.storage.database.connection import DamagedRow

MAX_MESSAGES = 100_000
MAX_OTHERS = 10_000  # of each other table
MAX_BYTES = 128 << 20  # of the contents; with more, fewer messages are read
MAX_NAMED = 3
_MARKS = ("last_id", "synced_id", "indexed_id")
_CONTENT = TABLES["messages"].columns.index("content")
_SEQUENCED = ("messages", "receipts", "responses")  # their keys are ids


class _Sample:
    """The rows that were read.

    Attributes:
        read: how many of each table.
        damaged: each damaged row, as far as it is named.
        damages: how many rows are damaged.
    """

    def __init__(self) -> None:
        self.read: dict[str, int] = {}
        self.damaged: list[str] = []
        self.damages = 0

    def read_table(self, connection: sqlite3.Connection, table: Table) -> None:
        """Reads the newest rows of a table, and checks each.

        Raises:
            sqlite3.Error: its pages are damaged.
        """
        size_bytes = self.read[table.name] = 0
        order = "ORDER BY id DESC" if table.key == "id" else ""
        limit = MAX_MESSAGES if table.name == "messages" else MAX_OTHERS
        query = f"SELECT {', '.join(table.columns)} FROM {table.name} NOT INDEXED {order} LIMIT {limit}"
        for row in connection.execute(query):
            self.read[table.name] += 1
            self._check(table, row)
            if table.name == "messages":
                size_bytes += len(row[_CONTENT]) if isinstance(row[_CONTENT], str | bytes) else 0
                if size_bytes > MAX_BYTES:
                    return

    def _check(self, table: Table, row: Row) -> None:
        try:
            table.check(row)
        except (ValueError, TypeError, MailroomError, sqlite3.DatabaseError) as error:
            self.damages += 1
            if len(self.damaged) < MAX_NAMED:
                reason = "" if isinstance(error, DamagedRow) else f" ({error})"  # that says no more than the name
                self.damaged.append(f"{_name(table, row)}{reason}")


def check(installation: Installation) -> Iterator[Finding]:
    """Reads the newest rows. Reports nothing if the database cannot be read, which its own check reports."""
    if not installation.database.exists():
        return
    sample = _Sample()
    try:
        with closing(open_read_only(installation.database)) as connection:
            if not has_current_version(connection):
                return
            connection.text_factory = _text_or_bytes
            connection.execute("BEGIN")  # one snapshot
            tables = readable_tables(connection)
            for name in TABLES.keys() & tables:
                sample.read_table(connection, TABLES[name])
            if "meta" in tables:
                yield from _check_marks(connection, installation.state_dir, tables)
    except sqlite3.Error:
        return
    yield _summarize(sample, installation.state_dir)


def _summarize(sample: _Sample, state_dir: Path) -> Finding:
    scope = f"{sum(sample.read.values()):,} rows read, with the {sample.read.get('messages', 0):,} newest messages"
    if not sample.damages:
        return ok("rows", f"{scope}: all valid")
    names = ", ".join(sample.damaged) + (", …" if sample.damages > len(sample.damaged) else "")
    advice = (
        f"stop `mailroomd`, keep a copy of {state_dir} and of inbox/, and restore a backup (`mailroom restore`); check "
        "the disk (dmesg, smartctl)"
    )
    return problem("rows", f"{scope}: {sample.damages:,} damaged: {names}", advice)


def _check_marks(connection: sqlite3.Connection, state_dir: Path, tables: set[str]) -> Iterator[Finding]:
    advice = f"stop `mailroomd`, keep a copy of {state_dir}, and restore a backup (`mailroom restore`)"
    for name in _MARKS:
        try:
            mark = mark_of(connection, name)
        except UnusableBackup as error:
            yield problem("marks", f"{error}".removeprefix("its ").replace("mark", "the mark", 1), advice)
            continue
        newest = max((_newest(connection, table) for table in _SEQUENCED if table in tables), default=0)
        if name == "last_id" and newest > mark:
            summary = f"last_id is {format_id(mark)}, but {format_id(newest)} has been issued: ids would repeat"
            yield problem("marks", summary, advice)


def _newest(connection: sqlite3.Connection, table: str) -> int:
    return connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]


def _text_or_bytes(raw: bytes) -> str | bytes:
    """Decodes a text; one that is not UTF-8 stays bytes, which no check accepts."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _name(table: Table, row: Row) -> str:
    is_id = table.key == "id" and type(row[0]) is int and row[0] >= 0
    return f"{table.name} {format_id(row[0]) if is_id else repr(row[0])[:40]}"
