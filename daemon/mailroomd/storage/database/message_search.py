"""Message search — finds the messages that match a query, newest first, within bounds of time and memory.

Owns the search in both parts: the index, and the newest messages above `indexed_id`, which are indexed in memory for
each search. Older ones that are not indexed yet are found some seconds later. Not here: the index and the syntax
(`search_index`). Above: `MessageArchive`.
Invariant: a search holds a few megabytes, and ends within seconds of its deadline or of its caller's leaving.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["Deadline", "SearchInterrupted", "matching_ids", "never"]

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from mailroomd.storage.database.search_index import TOKENIZER, mailbox_word, separate_characters

SEARCH_SEC = 2.0  # for one page
CHECK_EVERY_STEPS = 5000  # of SQLite's virtual machine: well below a millisecond
UNINDEXED_CHARS = 4 << 20  # of messages above `indexed_id` that one search reads, beyond the first
UNINDEXED_MESSAGES = 20_000
CHUNK = 500  # matches that are read at once, before the rest of the conditions is applied


class SearchInterrupted(Exception):  # noqa: N818 - a condition, not a defect
    """A search took too long, or its caller has left."""


def never() -> bool:
    """Returns False: nobody cancels this search."""
    return False


class Deadline:
    """When a search has to end.

    Args:
        is_cancelled: returns whether its caller has left; called often, from the thread that searches.
        seconds: from now.
    """

    def __init__(self, is_cancelled: Callable[[], bool] = never, seconds: float | None = None) -> None:
        self._is_cancelled = is_cancelled
        self._end_sec = time.monotonic() + (SEARCH_SEC if seconds is None else seconds)

    def is_over(self) -> bool:
        """Returns whether the search has to end now."""
        return time.monotonic() >= self._end_sec or self._is_cancelled()

    def check(self) -> None:
        """Passes unless the search has to end now.

        Raises:
            SearchInterrupted: it has.
        """
        if self.is_over():
            raise SearchInterrupted

    @contextmanager
    def interrupting(self, connection: sqlite3.Connection) -> Generator[None, None, None]:
        """Interrupts the statements of a connection when it is over.

        Raises:
            SearchInterrupted: a statement was interrupted.
        """
        connection.set_progress_handler(self.is_over, CHECK_EVERY_STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
                raise
            raise SearchInterrupted from error
        finally:
            connection.set_progress_handler(None, 0)


def matching_ids(
    connection: sqlite3.Connection,
    mailbox: str | None,
    expression: str,
    bound: int,
    deadline: Deadline,
    where: str = "true",
    values: Sequence[Any] = (),
) -> Generator[int, None, None]:
    """Yields ids of matching messages below the bound, newest first; in every mailbox if None is given.

    Args:
        connection: may be a reader's.
        expression: from `match_expression`, not empty.
        where: a condition for rows of `messages`, with its values.

    Raises:
        SearchInterrupted: the deadline is over.
    """
    indexed_id: int = connection.execute("SELECT value FROM meta WHERE name = 'indexed_id'").fetchone()[0]
    if bound > indexed_id + 1:
        yield from _unindexed(connection, mailbox, expression, indexed_id, bound, deadline, where, values)
    scoped = f"content : ({expression})"
    if mailbox is not None:
        scoped = f"mailbox : {mailbox_word(mailbox)} AND {scoped}"
    bound = min(bound, indexed_id + 1)  # what was indexed since was in the other part
    while True:
        rows = connection.execute(
            "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?",
            (scoped, bound, CHUNK),
        ).fetchall()
        ids = ", ".join(str(message_id) for (message_id,) in rows)
        query = f"SELECT id FROM messages WHERE id IN ({ids}) AND {where} ORDER BY id DESC"
        yield from [message_id for (message_id,) in connection.execute(query, values)]
        if len(rows) < CHUNK:
            return
        deadline.check()
        bound = rows[-1][0]


def _unindexed(
    connection: sqlite3.Connection,
    mailbox: str | None,
    expression: str,
    indexed_id: int,
    bound: int,
    deadline: Deadline,
    where: str,
    values: Sequence[Any],
) -> list[int]:
    """Searches the newest messages that are not indexed yet, in an index of their own."""
    of_mailbox, names = ("recipient = ? AND", (mailbox,)) if mailbox is not None else ("", ())
    query = (
        f"SELECT id, content FROM messages WHERE {of_mailbox} id > ? AND id < ? AND {where} ORDER BY id DESC LIMIT ?"
    )
    room_chars = UNINDEXED_CHARS
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as memory,
        closing(connection.execute(query, (*names, indexed_id, bound, *values, UNINDEXED_MESSAGES))) as rows,
        deadline.interrupting(memory),
    ):
        memory.execute(f"CREATE VIRTUAL TABLE unindexed USING fts5 (content, content = '', tokenize = '{TOKENIZER}')")
        memory.execute("BEGIN")  # otherwise each INSERT is a transaction
        for message_id, content in rows:
            deadline.check()
            document = (message_id, separate_characters(content))
            memory.execute("INSERT INTO unindexed (rowid, content) VALUES (?, ?)", document)
            room_chars -= len(content)
            if room_chars <= 0:
                break
        found = memory.execute(
            "SELECT rowid FROM unindexed WHERE unindexed MATCH ? ORDER BY rowid DESC", (expression,)
        ).fetchall()
    return [message_id for (message_id,) in found]
