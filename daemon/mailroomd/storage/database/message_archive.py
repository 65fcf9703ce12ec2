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

from mailroomd.model.announcement import Receipt, Response
from mailroomd.model.message import Message
from mailroomd.model.page import READ_BYTES, Page
from mailroomd.storage.database.alias_rows import live_aliases
from mailroomd.storage.database.connection import open_archive
from mailroomd.storage.database.receipts import receipts_after
from mailroomd.storage.database.responses import responses_after, waiting_responses
from mailroomd.storage.database.rows import MESSAGE_COLUMNS, message_of
from mailroomd.storage.database.search_index import match_expression, matching_ids

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
    team_error: str
    filed_ms: int
    offered_ms: int
    ended_ms: int


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
    ) -> Page[Message]:
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
    ) -> Page[Message]:
        """Returns unread messages above the cursor, or those not offered yet, oldest first unless said otherwise."""
        order = "DESC" if newest_first else "ASC"
        extent = "state < 4 AND state < 3" if unoffered_only else "state < 4"  # the first term names the index
        where = f"recipient = ? AND id > ? AND id <= ? AND {extent} ORDER BY id {order}"
        return self._messages(where, [mailbox, cursor, mark], limit, budget_bytes)

    def before(
        self,
        mailbox: str | None,
        bound: int,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        unread_only: bool = False,
        thread_id: str = "",
        query: str = "",
    ) -> Page[Message]:
        """Returns messages below an id, newest first; of every mailbox where None is given.

        Args:
            unread_only: leave out what is read or expired.
            thread_id: of this thread only.
            query: words that all are in the content, see `match_expression`.
        """
        terms: list[tuple[str, Any]] = [("id < ?", bound)]
        if mailbox is not None:
            terms.append(("recipient = ?", mailbox))
        if thread_id:
            terms.append(("thread_id = ? AND thread_id <> ''", thread_id))  # the second names the index
        where = " AND ".join(term for term, _ in terms) + (" AND state < 4" if unread_only else "")
        values = [value for _, value in terms]
        if query:
            return self._matching(query, mailbox, bound, where, values, limit, budget_bytes)
        return self._messages(f"{where} ORDER BY id DESC", values, limit, budget_bytes)

    def _matching(
        self,
        query: str,
        mailbox: str | None,
        bound: int,
        where: str,
        values: Sequence[Any],
        limit: int,
        budget_bytes: int,
    ) -> Page[Message]:
        """Returns messages that have the words of a query, and are as `where` says: looks on until there are enough."""
        expression = match_expression(query)
        found: Page[Message] = Page()
        while expression and (numbers := matching_ids(self._connection, mailbox, expression, bound, limit)):
            page = self._messages(
                f"id IN ({','.join(map(str, numbers))}) AND {where} ORDER BY id DESC",
                values,
                limit - len(found),
                budget_bytes,
            )
            found += page
            budget_bytes -= sum(len(one.draft.content) for one in page)
            if len(found) >= limit or page.is_cut or budget_bytes <= 0:
                return found.cut() if found else found
            if len(numbers) < limit:
                break
            bound = numbers[-1]
        return found

    def history(self, number: int) -> StoredHistory | None:
        """Returns a message and the times of its steps, None if it does not exist."""
        rows = self._rows(
            f"SELECT {MESSAGE_COLUMNS}, file_error, team_error, filed_ms, offered_ms, read_ms"
            " FROM messages WHERE id = ?",
            number,
        )
        return StoredHistory(message_of(rows[0]), *rows[0][13:]) if rows else None

    def parties(self, message_id: int) -> tuple[str, str] | None:
        """Returns sender and recipient of a message without reading its content; None if it does not exist."""
        rows = self._rows("SELECT sender, recipient FROM messages WHERE id = ?", message_id)
        return (rows[0][0], rows[0][1]) if rows else None

    def receipts(self, senders: Sequence[str] | None, cursor: int, mark: int, limit: int) -> Page[Receipt]:
        """Returns receipts above the cursor, in their order; for every sender where None is given."""
        return receipts_after(self._connection, senders, cursor, mark, limit)

    def responses(self, agents: Sequence[str] | None, cursor: int, mark: int, limit: int) -> Page[Response]:
        """Returns responses above the cursor, in their order; of every agent where None is given."""
        return responses_after(self._connection, agents, cursor, mark, limit)

    def waiting_responses(self, agents: Sequence[str], cursor: int, mark: int, limit: int) -> Page[Response]:
        """Returns responses that were handed to no subscriber yet, in their order."""
        return waiting_responses(self._connection, agents, cursor, mark, limit)

    def newest_responses(self) -> list[tuple[str, int]]:
        """Returns (agent, id) of the newest response of each agent that has one."""
        return self._connection.execute("SELECT agent, max(id) FROM responses GROUP BY agent").fetchall()

    def aliases(self, now_ms: int) -> list[tuple[str, str, int]]:
        """Returns (session, agent, expires_ms) of every alias that lasts."""
        return live_aliases(self._connection, now_ms)

    def newest(self, below: int, limit: int, budget_bytes: int = READ_BYTES) -> Page[Message]:
        """Returns messages of every mailbox below an id, newest first."""
        return self._messages("id < ? ORDER BY id DESC", [below], limit, budget_bytes)

    def mailboxes(self) -> list[MailboxRow]:
        """Returns how every mailbox stands."""
        return [_mailbox_of(row) for row in self._rows(f"SELECT {_MAILBOX_COLUMNS} FROM mailboxes ORDER BY name")]

    def mailbox(self, name: str) -> MailboxRow | None:
        """Returns how a mailbox stands, None if it does not exist."""
        rows = self._rows(f"SELECT {_MAILBOX_COLUMNS} FROM mailboxes WHERE name = ?", name)
        return _mailbox_of(rows[0]) if rows else None

    def _messages(self, where: str, values: Sequence[Any], limit: int, budget_bytes: int) -> Page[Message]:
        found: Page[Message] = Page()
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
