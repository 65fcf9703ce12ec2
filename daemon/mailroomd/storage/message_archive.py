"""MessageArchive — reads the database: what has left the table, and what the table has no order for.

Owns the queries; each reads one page in one snapshot. For one thread at a time: open one for each thread.
Not here: the choice between table and database (`MailReader`), writing (`MessageStore`).
Invariant: given the durable mark, nothing above it is returned, so a reader never sees what was not announced.
"""

__all__ = ["MailboxRow", "MessageArchive", "StoredHistory"]

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from mailroomd.model.message import Message
from mailroomd.storage.batch import READ_BYTES, Batch
from mailroomd.storage.database import open_archive
from mailroomd.storage.rows import MESSAGE_COLUMNS, message_of

# ruff: noqa: S608 - the only thing formatted into SQL here is this module's own text


_MAILBOX_COLUMNS = (
    "name, total, unread,"
    " coalesce((SELECT min(id) FROM messages WHERE recipient = name AND state < 4), 0), last_seen_ms"
)


class MailboxRow(NamedTuple):
    """How a mailbox stands in the database."""

    name: str
    total: int
    unread: int
    oldest_unread_id: int
    last_seen_ms: int


class StoredHistory(NamedTuple):
    """One message with the times of its steps, milliseconds since 1970, 0 for not yet."""

    message: Message
    file_error: str
    filed_ms: int
    offered_ms: int
    read_ms: int


class MessageArchive:
    """Reads one database.

    Args:
        state_dir: where `mailroom.db` lies.

    Raises:
        sqlite3.Error: it can't be opened.
    """

    def __init__(self, state_dir: Path) -> None:
        self._connection = open_archive(state_dir)

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def last_id(self) -> int:
        """Returns the highest id ever issued."""
        return self._rows("SELECT value FROM meta WHERE name = 'last_id'")[0][0]

    def after(
        self, mailbox: str | None, cursor: int, mark: int, limit: int, budget_bytes: int = READ_BYTES
    ) -> Batch[Message]:
        """Returns messages above the cursor, oldest first; of every mailbox where None is given."""
        where, values = ("recipient = ? AND", [mailbox]) if mailbox is not None else ("", [])
        return self._messages(f"{where} id > ? AND id <= ? ORDER BY id", [*values, cursor, mark], limit, budget_bytes)

    def unread(
        self,
        mailbox: str,
        cursor: int,
        mark: int,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        newest_first: bool = False,
        unoffered_only: bool = False,
    ) -> Batch[Message]:
        """Returns unread messages above the cursor, or those not offered yet, oldest first unless said otherwise."""
        order = "DESC" if newest_first else "ASC"
        extent = "state < 4 AND state < 3" if unoffered_only else "state < 4"  # the first term names the index
        where = f"recipient = ? AND id > ? AND id <= ? AND {extent} ORDER BY id {order}"
        return self._messages(where, [mailbox, cursor, mark], limit, budget_bytes)

    def before(
        self,
        mailbox: str,
        bound: int,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        unread_only: bool = False,
        thread_id: str = "",
        query: str = "",
    ) -> Batch[Message]:
        """Returns messages below an id, newest first; only unread ones, of one thread, or that contain a text."""
        where, values = "recipient = ? AND id < ?", [mailbox, bound]
        if unread_only:
            where += " AND state < 4"
        if thread_id:
            where += " AND thread_id = ?"
            values.append(thread_id)
        if query:
            where += " AND content LIKE ? ESCAPE '!'"
            values.append("%" + query.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%")
        return self._messages(f"{where} ORDER BY id DESC", values, limit, budget_bytes)

    def history(self, number: int) -> StoredHistory | None:
        """Returns a message and the times of its steps, None if it does not exist."""
        rows = self._rows(
            f"SELECT {MESSAGE_COLUMNS}, file_error, filed_ms, offered_ms, read_ms FROM messages WHERE id = ?", number
        )
        if not rows:
            return None
        file_error, filed_ms, offered_ms, read_ms = rows[0][12:]
        return StoredHistory(message_of(rows[0]), file_error, filed_ms, offered_ms, read_ms)

    def newest(self, below: int, limit: int, budget_bytes: int = READ_BYTES) -> Batch[Message]:
        """Returns messages of every mailbox below an id, newest first."""
        return self._messages("id < ? ORDER BY id DESC", [below], limit, budget_bytes)

    def mailboxes(self) -> list[MailboxRow]:
        """Returns how every mailbox stands."""
        return [_mailbox_of(row) for row in self._rows(f"SELECT {_MAILBOX_COLUMNS} FROM mailboxes ORDER BY name")]

    def mailbox(self, name: str) -> MailboxRow | None:
        """Returns how a mailbox stands, None if it does not exist."""
        rows = self._rows(f"SELECT {_MAILBOX_COLUMNS} FROM mailboxes WHERE name = ?", name)
        return _mailbox_of(rows[0]) if rows else None

    def _messages(self, where: str, values: Sequence[Any], limit: int, budget_bytes: int) -> Batch[Message]:
        found: Batch[Message] = Batch()
        sql = f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE {where} LIMIT ?"
        with closing(self._connection.execute(sql, (*values, limit))) as rows:
            for row in rows:
                if found and budget_bytes <= 0:
                    return found.cut()
                found.append(message_of(row))
                budget_bytes -= len(found[-1].draft.content) + len(found[-1].draft.metadata)
        return found.cut() if len(found) == limit else found

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


def _mailbox_of(row: tuple[Any, ...]) -> MailboxRow:
    name, total, unread, oldest_unread_id, last_seen_ms = row
    return MailboxRow(name, total, unread, oldest_unread_id, last_seen_ms)
