"""SearchIndex — the full-text index of the messages, filled later in slices so that no send waits for it.

Owns the FTS5 table `search`, the mark `indexed_id`, the syntax of a query, and the search in both parts: the index,
and the messages above `indexed_id`, which are indexed in memory for each search. Not here: transactions, when to fill.
Source of the query's form: sqlite.org/fts5.html. Invariant: a message is in the index exactly if its id is at most
`indexed_id`; a deleted message leaves the table and the index in one transaction.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["SearchIndex", "match_expression", "matching_ids"]

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing

FILL_SLICE = 300  # messages in one transaction: some 3 ms
FILL_CHARS = 256 << 10  # of content in it, beyond the last message: some 20 ms
MAX_UNINDEXED = 20_000  # messages above `indexed_id` that one search reads; more wait for the index
MAX_BACKLOG = 10_000  # a larger backlog is not counted
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_TOKENS = "tokenize = 'unicode61 remove_diacritics 2'"


class SearchIndex:
    """Keeps the index.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._indexed_id: int = connection.execute("SELECT value FROM meta WHERE name = 'indexed_id'").fetchone()[0]

    @property
    def indexed_id(self) -> int:
        """Every message up to this id is in the index."""
        return self._indexed_id

    def backlog(self) -> int:
        """Returns how many messages are not indexed yet, at most MAX_BACKLOG."""
        query = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE id > ? LIMIT ?)"
        return self._connection.execute(query, (self._indexed_id, MAX_BACKLOG)).fetchone()[0]

    def fill(self) -> tuple[int, int]:
        """Indexes a slice within the open transaction.

        Returns:
            `indexed_id` after its commit, and how many messages were indexed.
        """
        indexed_id, room_chars, count = self._indexed_id, FILL_CHARS, 0
        with closing(
            self._connection.execute(
                "SELECT id, length(content) FROM messages WHERE id > ? ORDER BY id LIMIT ?", (indexed_id, FILL_SLICE)
            )
        ) as rows:
            for message_id, chars in rows:
                indexed_id, room_chars, count = message_id, room_chars - chars, count + 1
                if room_chars <= 0:
                    break
        if not count:
            return indexed_id, 0
        self._connection.execute(
            "INSERT INTO search (rowid, mailbox, content)"
            " SELECT id, mailbox, content FROM searchable WHERE id > ? AND id <= ?",
            (self._indexed_id, indexed_id),
        )
        self._connection.execute("UPDATE meta SET value = ? WHERE name = 'indexed_id'", (indexed_id,))
        return indexed_id, count

    def on_filled(self, indexed_id: int) -> None:
        """Moves the mark after the commit of `fill`."""
        self._indexed_id = indexed_id

    def remove(self, message_ids: Sequence[int]) -> None:
        """Removes messages before their rows are deleted in the same transaction."""
        self._connection.executemany(
            "INSERT INTO search (search, rowid, mailbox, content)"
            " SELECT 'delete', id, mailbox, content FROM searchable WHERE id = ? AND id <= ?",
            [(message_id, self._indexed_id) for message_id in message_ids],
        )


def match_expression(query: str) -> str:
    """Returns a person's query as an FTS5 expression; "" if it contains no word.

    All words must match; "several words" are a phrase; a word that ends in * is a prefix.
    """
    terms: list[str] = []
    for phrase, word in _TERM.findall(query.replace("\0", " ")):  # FTS5 would take a NUL for the end of the expression
        text = phrase or word
        is_prefix = bool(word) and word.endswith("*")
        if any(character.isalnum() for character in text):
            terms.append('"' + text.replace('"', '""') + '"' + ("*" if is_prefix else ""))
    return " AND ".join(terms)


def matching_ids(
    connection: sqlite3.Connection, mailbox: str | None, expression: str, bound: int, limit: int
) -> list[int]:
    """Returns ids of matching messages below the bound, newest first; in every mailbox if None is given.

    Args:
        connection: may be a reader's.
        expression: from `match_expression`, not empty.
    """
    indexed_id = connection.execute("SELECT value FROM meta WHERE name = 'indexed_id'").fetchone()[0]
    unindexed = _matching_unindexed(connection, mailbox, expression, indexed_id, bound)[:limit]
    if len(unindexed) == limit:
        return unindexed
    scoped = f"content : ({expression})"
    if mailbox is not None:
        scoped = f"mailbox : x{mailbox.encode().hex()} AND {scoped}"
    rows = connection.execute(
        "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?",
        (scoped, min(bound, indexed_id + 1), limit - len(unindexed)),  # not what was indexed since
    )
    return unindexed + [message_id for (message_id,) in rows]


def _matching_unindexed(
    connection: sqlite3.Connection, mailbox: str | None, expression: str, indexed_id: int, bound: int
) -> list[int]:
    """Searches the messages that are not indexed yet, by the same rules: in an index of their own, in memory."""
    of_mailbox, values = ("recipient = ? AND", (mailbox,)) if mailbox is not None else ("", ())
    rows = connection.execute(
        f"SELECT id, content FROM messages WHERE {of_mailbox} id > ? AND id < ? ORDER BY id DESC LIMIT ?",
        (*values, indexed_id, bound, MAX_UNINDEXED),
    ).fetchall()
    if not rows:
        return []
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        memory.execute(f"CREATE VIRTUAL TABLE unindexed USING fts5 (content, content = '', {_TOKENS})")
        memory.executemany("INSERT INTO unindexed (rowid, content) VALUES (?, ?)", rows)
        found = memory.execute("SELECT rowid FROM unindexed WHERE unindexed MATCH ? ORDER BY rowid DESC", (expression,))
        return [message_id for (message_id,) in found]
    finally:
        memory.close()
