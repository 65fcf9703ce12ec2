"""Backup rows — copies the rows of one database into a new one, and checks each on the way.

A backup is data of unknown origin. Its tables are read by our own column lists; its triggers, views, indexes and
further tables stay behind. Every row is checked as strictly as its reader will read it.
Not here: which rows are wanted, and the swap (`restore`). Above: `restore`.
Invariant: a row that a worker could not read is never written; the first such row ends the copying.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["MAX_RESTORED_ID", "TABLES", "UnusableBackup", "check_tables", "copy_rows", "mark_of"]

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import orjson
from mailroom.message_fields import limit_of

from mailroomd.core.validation import check_agent, check_draft
from mailroomd.model.clock import LATEST_MS
from mailroomd.model.errors import MailroomError
from mailroomd.model.ids import MAX_ID, MS_SHIFT, milliseconds_of
from mailroomd.model.names import host_of, is_host, name_of
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.rows import MESSAGE_COLUMNS, message_of
from mailroomd.storage.database.schema import DEFAULTS

MAX_RESTORED_ID = 1 << 62  # an id of the year 2109: a higher one would leave too few for what comes next
MAX_TIME_MS = milliseconds_of(MAX_RESTORED_ID)
DIGEST_BYTES = 16

Row = tuple[Any, ...]


class UnusableBackup(sqlite3.DatabaseError):
    """A table or row of a backup does not hold what the daemon writes."""


class Table(NamedTuple):
    """How one table is copied.

    Attributes:
        name: of the table.
        columns: its columns, in the order in which `check` gets them.
        check: raises ValueError, MailroomError or sqlite3.DatabaseError for a row that could not be read.
        key: the columns that identify a row; the rows are read in their order.
        missing: SQL values for columns, or for the whole table (empty), that an older version does not have.
    """

    name: str
    columns: tuple[str, ...]
    check: Callable[[Row], object]
    key: str = "id"
    missing: dict[str, str] = {}  # noqa: RUF012 - never changed


_ERROR_COLUMNS = ("file_error", "team_error")
_STEP_COLUMNS = (*_ERROR_COLUMNS, "acknowledged_by", "filed_id", "filed_ms", "offered_ms", "read_ms", "overdue_ms")
_MESSAGE_COLUMNS = tuple(MESSAGE_COLUMNS.split(", "))


def _check_message(row: Row) -> None:
    message = message_of(row[: len(_MESSAGE_COLUMNS)])
    check_draft(msgspec.structs.replace(message.draft, sender=_local_name(message.draft.sender)))
    if message.state is DeliveryState.VOIDED:
        raise ValueError("it is voided")
    file_error, team_error, acknowledged_by, filed_id, *times = row[len(_MESSAGE_COLUMNS) :]
    _check_texts(file_error, team_error, acknowledged_by)
    _check_ids(message.id)
    _check_numbers(-1, MAX_RESTORED_ID, filed_id)
    _check_numbers(0, MAX_ID, message.draft.in_reply_to)  # the client's: nothing has to exist there
    _check_times(message.timestamp_ms, *times)


def _check_receipt(row: Row) -> None:
    receipt_id, sender, message_id, recipient, state, timestamp_ms, acknowledged_by, reason = row
    _check_ids(receipt_id, message_id)
    _check_texts(sender, recipient, acknowledged_by, reason)
    _check_times(timestamp_ms)
    DeliveryState(state)


def _check_response(row: Row) -> None:
    response_id, agent, session, file_name, identity, state, timestamp_ms, body = row
    _check_ids(response_id)
    _check_texts(agent, session, file_name, identity, body)
    _check_times(timestamp_ms)
    DeliveryState(state)
    if not isinstance(orjson.loads(body), dict):
        raise ValueError("its body is not a JSON object")


def _check_deadline(row: Row) -> None:
    message_id, sender, recipient, reply_by_ms = row
    _check_ids(message_id)
    _check_names(sender, recipient)
    _check_numbers(1, LATEST_MS + limit_of("reply_by"), reply_by_ms)


def _check_alias(row: Row) -> None:
    session, agent, expires_ms = row
    _check_names(session, agent)
    _check_numbers(0, MAX_TIME_MS, expires_ms)


def _check_mailbox(row: Row) -> None:
    name, last_seen_ms = row
    _check_names(name)
    _check_times(last_seen_ms)


def _check_client_key(row: Row) -> None:
    sender, key, message_id, digest, used_ms = row
    _check_texts(sender, key)
    _check_times(used_ms)
    _check_ids(message_id)
    if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
        raise ValueError("invalid digest")


def _check_gateway_key(row: Row) -> None:
    key, message_id = row
    _check_texts(key)
    _check_ids(message_id)


def _check_cleared_file(row: Row) -> None:
    message_id, mailbox = row
    _check_ids(message_id)
    _check_names(mailbox)


def _check_forwarded(row: Row) -> None:
    host, item_id, run, origin_run, origin_id, state, timestamp_ms, reason, size_bytes = row
    _check_hosts(host)
    _check_ids(item_id)
    _check_runs(run, origin_run, origin_id)
    DeliveryState(state)
    _check_times(timestamp_ms, size_bytes)
    _check_texts(reason)


def _check_link(row: Row) -> None:
    host, run, sent_id = row
    _check_hosts(host)
    _check_runs(run, sent_id)


def _check_departure(row: Row) -> None:
    message_id, host, run, reason = row
    _check_ids(message_id)
    _check_hosts(host)
    _check_runs(run)
    _check_texts(reason)


def _check_arrival(row: Row) -> None:
    host, run, stored_id, stored_ms = row
    _check_hosts(host)
    _check_runs(run, stored_id)
    _check_times(stored_ms)


def _check_origin(row: Row) -> None:
    message_id, host, run, origin_id = row
    _check_ids(message_id)
    _check_hosts(host)
    _check_runs(run, origin_id)


TABLES = {
    table.name: table
    for table in (
        Table(
            "messages",
            (*_MESSAGE_COLUMNS, *_STEP_COLUMNS),
            _check_message,
            missing={"team_error": "''", "filed_id": "-1", "overdue_ms": "0", "acknowledged_by": "''"} | DEFAULTS,
        ),
        Table(
            "receipts",
            ("id", "sender", "message_id", "recipient", "state", "timestamp_ms", "acknowledged_by", "reason"),
            _check_receipt,
            missing={"acknowledged_by": "''", "reason": "''"},
        ),
        Table(
            "responses",
            ("id", "agent", "session", "file_name", "identity", "state", "timestamp_ms", "body"),
            _check_response,
        ),
        Table("deadlines", ("id", "sender", "recipient", "reply_by_ms"), _check_deadline),
        Table("aliases", ("session", "agent", "expires_ms"), _check_alias, "session"),
        Table("mailboxes", ("name", "last_seen_ms"), _check_mailbox, "name"),
        Table(
            "idempotency_keys",
            ("sender", "key", "message_id", "digest", "used_ms"),
            _check_client_key,
            "sender, key",
            missing={"used_ms": f"min(message_id >> {MS_SHIFT}, strftime('%s', 'now') * 1000)"},
        ),
        Table("request_keys", ("key", "message_id"), _check_gateway_key, "key"),
        Table("cleared_files", ("id", "mailbox"), _check_cleared_file),
        Table(
            "forward_queue",
            ("host", "id", "run", "origin_run", "origin_id", "state", "timestamp_ms", "reason", "size_bytes"),
            _check_forwarded,
            "host, id",
        ),
        Table("links", ("host", "sent_run", "sent_id"), _check_link, "host"),
        Table("departures", ("id", "host", "run", "reason"), _check_departure),
        Table("arrivals", ("host", "run", "id", "stored_ms"), _check_arrival, "host, run"),
        Table("origins", ("id", "host", "run", "origin_id"), _check_origin),
    )
}


def check_tables(source: sqlite3.Connection) -> None:
    """Checks that what will be read are ordinary tables, and that their pages are sound.

    Raises:
        UnusableBackup: something else is in the place of a table.
        sqlite3.Error: the file is damaged.
    """
    names = (*TABLES, "meta")
    marks = ", ".join("?" * len(names))
    query = f"SELECT name, type, sql FROM sqlite_schema WHERE name IN ({marks})"
    for name, kind, sql in source.execute(query, names).fetchall():
        if kind != "table" or not str(sql).upper().startswith("CREATE TABLE"):
            raise UnusableBackup(f"{name} is not a table")
        if any(column[6] for column in source.execute(f"PRAGMA table_xinfo({name})")):
            raise UnusableBackup(f"{name} has generated columns")
        if source.execute(f"PRAGMA quick_check({name})").fetchone() != ("ok",):  # of this table: views may be hostile
            raise UnusableBackup(f"the pages of {name} are damaged")


def mark_of(source: sqlite3.Connection, name: str) -> int:
    """Returns a mark of `meta`.

    Raises:
        UnusableBackup: it is missing or out of range.
    """
    row = source.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None or type(row[0]) is not int or not 0 <= row[0] <= MAX_RESTORED_ID:
        raise UnusableBackup(f"its mark {name} is missing or out of range")
    return row[0]


def copy_rows(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: Table,
    beat: Callable[[], None],
    *,
    after_id: int | None = None,
) -> int:
    """Copies rows that the target does not have, within its open transaction; returns how many.

    Args:
        after_id: only rows with a higher id.

    Raises:
        UnusableBackup: a row could not be read by a worker.
        sqlite3.Error: one of the databases cannot be read or written.
    """
    columns = ", ".join(table.columns)
    insert = f"INSERT OR IGNORE INTO {table.name} ({columns}) VALUES ({', '.join('?' * len(table.columns))})"
    return target.executemany(insert, _checked_rows(source, table, after_id, beat)).rowcount


def _checked_rows(
    source: sqlite3.Connection, table: Table, after_id: int | None, beat: Callable[[], None]
) -> Iterator[Row]:
    present = {row[1] for row in source.execute(f"PRAGMA table_info({table.name})")}
    if not present:
        return  # the version that wrote it did not have this table
    selected = [column if column in present else table.missing.get(column, column) for column in table.columns]
    where, values = ("WHERE id > ?", (after_id,)) if after_id is not None else ("", ())
    query = f"SELECT {', '.join(selected)} FROM {table.name} NOT INDEXED {where} ORDER BY {table.key}"
    for row in _decoded(source.execute(query, values)):
        beat()
        try:
            table.check(row)
        except (ValueError, TypeError, MailroomError, sqlite3.DatabaseError) as error:
            raise UnusableBackup(f"row {row[0]!r:.40} of {table.name} is damaged: {error}") from error
        yield row


def _decoded(cursor: Iterable[Row]) -> Iterator[Row]:
    try:
        yield from cursor
    except UnicodeDecodeError as error:
        raise UnusableBackup("it contains text that is not UTF-8") from error


def _check_texts(*values: object) -> None:
    if not all(type(value) is str for value in values):
        raise ValueError("a text column has another type")


def _check_names(*values: object) -> None:
    for value in values:
        if type(value) is not str:
            raise ValueError("a name is not a text")
        check_agent(_local_name(value))


def _local_name(address: str) -> str:
    """Returns the name in an address, whose host is checked."""
    if host := host_of(address):
        _check_hosts(host)
    return name_of(address)


def _check_hosts(*hosts: object) -> None:
    if not all(type(host) is str and is_host(host) for host in hosts):
        raise ValueError("invalid host")


def _check_runs(*runs: object) -> None:
    _check_numbers(0, MAX_ID, *runs)


def _check_ids(*values: object) -> None:
    _check_numbers(1, MAX_RESTORED_ID, *values)


def _check_times(*values: object) -> None:
    _check_numbers(0, MAX_TIME_MS, *values)


def _check_numbers(least: int, most: int, *values: object) -> None:
    for value in values:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{value!r:.40} is out of range")
