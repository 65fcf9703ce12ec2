"""MessageArchive — reads the database: messages that have left the mailbox table, receipts, responses, search.

Owns the queries; each reads one page in one snapshot. For one thread at a time: open one for each thread.
Not here: the choice between table and database (`MailReader`), writing (`MessageStore`).
Invariant: a query that takes the high-water mark returns nothing above it, so a reader sees only what was announced.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["MailboxRow", "MessageArchive", "StoredHistory"]

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from mailroomd.model.announcement import Receipt, Response
from mailroomd.model.errors import search_too_long
from mailroomd.model.message import Message
from mailroomd.model.message_filter import MessageFilter
from mailroomd.model.page import READ_BYTES, Page
from mailroomd.storage.database.alias_rows import live_aliases
from mailroomd.storage.database.connection import DamagedRow, open_archive
from mailroomd.storage.database.damaged_rows import set_aside
from mailroomd.storage.database.forgotten import forgotten_id
from mailroomd.storage.database.message_search import Deadline, SearchInterrupted, matching_ids, never
from mailroomd.storage.database.receipts import receipts_after
from mailroomd.storage.database.responses import responses_after, waiting_responses
from mailroomd.storage.database.rows import MESSAGE_COLUMNS, message_of
from mailroomd.storage.database.search_index import match_expression
from mailroomd.storage.database.state_conditions import NOT_OFFERED, UNREAD
from mailroomd.storage.database.traffic import Traffic, count_traffic

_MAILBOX_COLUMNS = (
    f"name, total, unread, coalesce((SELECT min(id) FROM messages WHERE recipient = name AND {UNREAD}), 0),"
    " last_seen_ms"
)
_HISTORY_COLUMNS = "file_error, team_error, filed_ms, offered_ms, read_ms, overdue_ms, acknowledged_by"

_HISTORY_WIDTH = _HISTORY_COLUMNS.count(",") + 1


class MailboxRow(NamedTuple):
    """The counts of a mailbox in the database."""

    name: str
    total: int
    unread: int
    oldest_unread_id: int
    last_seen_ms: int


class StoredHistory(NamedTuple):
    """One message with the times of its steps, milliseconds since 1970, 0 for a step that it has not made.

    Attributes:
        acknowledged_by: who acknowledged it in its recipient's place, "" for the recipient.
    """

    message: Message
    file_error: str
    team_error: str
    filed_ms: int
    offered_ms: int
    ended_ms: int
    overdue_ms: int
    acknowledged_by: str


class MessageArchive:
    """Reads one database.

    Args:
        state_dir: where `mailroom.db` is.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, state_dir: Path) -> None:
        self._connection = open_archive(state_dir)

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def last_id(self) -> int:
        """Returns the highest id ever issued."""
        return self._rows("SELECT value FROM meta WHERE name = 'last_id'")[0][0]

    def forgotten_id(self) -> int:
        """Returns the id up to which events may be missing because their retention deleted them."""
        return forgotten_id(self._connection)

    # -- messages -------------------------------------------------------------------------------------------------

    def after(
        self, mailbox: str | None, cursor: int, durable_id: int, limit: int, budget_bytes: int = READ_BYTES
    ) -> Page[Message]:
        """Returns messages after a cursor, oldest first; in every mailbox if None is given."""
        where, values = ("recipient = ? AND", [mailbox]) if mailbox is not None else ("", [])
        return self._messages(
            f"{where} id > ? AND id <= ? ORDER BY id", [*values, cursor, durable_id], limit, budget_bytes
        )

    def unread(
        self,
        mailbox: str,
        cursor: int,
        durable_id: int,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        newest_first: bool = False,
        unoffered_only: bool = False,
    ) -> Page[Message]:
        """Returns unread messages after a cursor, or only those not offered yet, oldest first by default."""
        order = "DESC" if newest_first else "ASC"
        extent = f"{UNREAD} AND {NOT_OFFERED}" if unoffered_only else UNREAD  # the first term selects the index
        where = f"recipient = ? AND id > ? AND id <= ? AND {extent} ORDER BY id {order}"
        return self._messages(where, [mailbox, cursor, durable_id], limit, budget_bytes)

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
        is_cancelled: Callable[[], bool] = never,
    ) -> Page[Message]:
        """Returns messages below an id, newest first; in every mailbox if None is given. See `listed`."""
        wanted = MessageFilter(unread_only, thread_id, query)
        return self.listed(mailbox, bound, limit, wanted, budget_bytes, is_cancelled=is_cancelled)

    def listed(
        self,
        mailbox: str | None,
        bound: int,
        limit: int,
        wanted: MessageFilter,
        budget_bytes: int = READ_BYTES,
        *,
        is_cancelled: Callable[[], bool] = never,
    ) -> Page[Message]:
        """Returns messages below an id, newest first; in every mailbox if None is given.

        Args:
            wanted: which of them. A search that takes too long returns what it has found, as a page that is cut.
            is_cancelled: returns whether the caller of a search has left; called often, from this thread.

        Raises:
            MailroomError: QUERY_TOO_LONG, a search found nothing within its time.
        """
        where, values = _condition(mailbox, bound, wanted)
        deadline = Deadline(is_cancelled)
        if wanted.query:
            return self._matching(wanted.query, mailbox, bound, where, values, limit, budget_bytes, deadline)
        where = f"{where} ORDER BY id DESC"
        if not wanted.is_search:
            return self._messages(where, values, limit, budget_bytes)
        page: Page[Message] = Page()
        try:
            with deadline.interrupting(self._connection):
                return self._messages(where, values, limit, budget_bytes, page)
        except SearchInterrupted as error:
            if not page:
                raise search_too_long() from error
            return page.cut()

    def traffic(self, begin_ms: int, durable_id: int, is_cancelled: Callable[[], bool] = never) -> Traffic:
        """Returns how many messages each sender sent to each mailbox since a time, milliseconds since 1970."""
        return count_traffic(self._connection, begin_ms, durable_id, Deadline(is_cancelled))

    def newest(self, below: int, limit: int, budget_bytes: int = READ_BYTES) -> Page[Message]:
        """Returns messages of every mailbox below an id, newest first."""
        return self._messages("id < ? ORDER BY id DESC", [below], limit, budget_bytes)

    def history(self, message_id: int) -> StoredHistory | None:
        """Returns a message and the times of its steps; None if it does not exist."""
        rows = self._rows(f"SELECT {_HISTORY_COLUMNS}, {MESSAGE_COLUMNS} FROM messages WHERE id = ?", message_id)
        if not rows:
            return None
        steps, message = rows[0][:_HISTORY_WIDTH], rows[0][_HISTORY_WIDTH:]
        return StoredHistory(message_of(message), *steps)

    # -- everything else ------------------------------------------------------------------------------------------

    def parties(self, message_id: int) -> tuple[str, str] | None:
        """Returns sender and recipient of a message without reading its content; None if it does not exist."""
        rows = self._rows("SELECT sender, recipient FROM messages WHERE id = ?", message_id)
        return (rows[0][0], rows[0][1]) if rows else None

    def receipts(self, senders: Sequence[str] | None, cursor: int, durable_id: int, limit: int) -> Page[Receipt]:
        """Returns receipts after a cursor, in order; those for every sender if None is given."""
        return receipts_after(self._connection, senders, cursor, durable_id, limit)

    def responses(self, agents: Sequence[str] | None, cursor: int, durable_id: int, limit: int) -> Page[Response]:
        """Returns responses after a cursor, in order; those of every agent if None is given."""
        return responses_after(self._connection, agents, cursor, durable_id, limit)

    def waiting_responses(self, agents: Sequence[str], cursor: int, durable_id: int, limit: int) -> Page[Response]:
        """Returns responses that were not delivered to any subscriber yet, in order."""
        return waiting_responses(self._connection, agents, cursor, durable_id, limit)

    def newest_responses(self) -> list[tuple[str, int]]:
        """Returns (agent, id) of the newest response of each agent that has one."""
        return self._connection.execute("SELECT agent, max(id) FROM responses GROUP BY agent").fetchall()

    def aliases(self, now_ms: int) -> list[tuple[str, str, int]]:
        """Returns (session, agent, expires_ms) of every alias that has not expired."""
        return live_aliases(self._connection, now_ms)

    def mailboxes(self) -> list[MailboxRow]:
        """Returns the counts of every mailbox."""
        rows = self._rows(f"SELECT {_MAILBOX_COLUMNS} FROM mailboxes ORDER BY name")
        return [MailboxRow._make(row) for row in rows]

    def mailbox(self, name: str) -> MailboxRow | None:
        """Returns the counts of a mailbox; None if it does not exist."""
        rows = self._rows(f"SELECT {_MAILBOX_COLUMNS} FROM mailboxes WHERE name = ?", name)
        return MailboxRow._make(rows[0]) if rows else None

    def crowded_mailboxes(self, min_unread: int) -> list[tuple[str, int]]:
        """Returns (name, unread) of each mailbox that has at least this number of unread messages."""
        return self._rows("SELECT name, unread FROM mailboxes WHERE unread >= ? ORDER BY name", min_unread)

    def unread_senders(self, mailbox: str, below: int, limit: int) -> list[tuple[int, str]]:
        """Returns (id, sender) of a mailbox's unread messages below an id, newest first."""
        sql = f"SELECT id, sender FROM messages WHERE recipient = ? AND id < ? AND {UNREAD} ORDER BY id DESC LIMIT ?"
        return self._rows(sql, mailbox, below, limit)

    def _matching(
        self,
        query: str,
        mailbox: str | None,
        bound: int,
        where: str,
        values: Sequence[Any],
        limit: int,
        budget_bytes: int,
        deadline: Deadline,
    ) -> Page[Message]:
        """Returns messages that match a query and `where`."""
        expression = match_expression(query)
        page: Page[Message] = Page()
        if not expression:
            return page
        try:
            with deadline.interrupting(self._connection):
                found = matching_ids(self._connection, mailbox, expression, bound, deadline, where, values)
                with closing(found):
                    for message_id in found:
                        matching = self._messages("id = ?", [message_id], 1, budget_bytes)
                        page += matching
                        budget_bytes -= sum(len(message.draft.content) for message in matching)
                        if len(page) >= limit or budget_bytes <= 0:
                            return page.cut()
        except SearchInterrupted as error:
            if not page:
                raise search_too_long() from error
            return page.cut()
        return page

    def _messages(
        self, where: str, values: Sequence[Any], limit: int, budget_bytes: int, page: Page[Message] | None = None
    ) -> Page[Message]:
        """Returns messages of a query, without those whose rows are damaged: these are set aside.

        Args:
            page: an empty page to fill; it has what was found if the query is interrupted.
        """
        page = Page() if page is None else page
        sql = f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE {where} LIMIT ?"
        with closing(self._connection.execute(sql, (*values, limit))) as rows:
            number = 0
            for row in rows:
                number += 1  # of all rows
                if page and budget_bytes <= 0:
                    return page.cut()
                try:
                    message = message_of(row)
                except DamagedRow as error:
                    set_aside(row[0], error)
                    continue
                page.append(message)
                budget_bytes -= len(message.draft.content) + len(message.draft.metadata)
        if number < limit:
            return page
        return page.cut() if page else self._messages(where, values, limit * 2, budget_bytes, page)  # all are damaged

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


def _condition(mailbox: str | None, bound: int, wanted: MessageFilter) -> tuple[str, list[Any]]:
    """Returns the condition of a list as SQL, and its values."""
    terms: list[tuple[str, Any]] = [("id < ?", bound)]
    if mailbox is not None:
        terms.append(("recipient = ?", mailbox))
    if wanted.thread_id:
        terms.append(("thread_id = ? AND thread_id <> ''", wanted.thread_id))  # the second term selects the index
    if wanted.sender:
        terms.append(("sender = ?", wanted.sender))
    where = " AND ".join(term for term, _ in terms)
    if wanted.unread_only:
        where += f" AND {UNREAD}"
    if wanted.states is not None:
        where += f" AND state IN ({', '.join(f'{state:d}' for state in sorted(wanted.states))})"
    return where, [value for _, value in terms]
