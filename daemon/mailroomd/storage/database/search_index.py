"""SearchIndex — the full-text index of the messages: filled behind, in slices, so that no send waits for it.

Owns the FTS5 table `search`, the mark `indexed_id`, the words of a query, and the search in both parts: what is
indexed, and the rest behind the mark, which is indexed in memory for one look. Not here: transactions, when to fill.
Source of the query's form: sqlite.org/fts5.html. Invariant: a message is in the index exactly if its id is at most
`indexed_id`; what is deleted leaves both at once.
"""

__all__ = ["SearchIndex", "match_expression", "matching_ids"]

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing

FILL_SLICE = 300  # messages in one transaction: some 3 ms
FILL_CHARS = 256 << 10  # of content in it, beyond the last message: some 20 ms
MAX_REST = 20_000  # messages behind the mark that one search looks through; more wait for the index
MOST_COUNTED = 10_000  # a backlog beyond it is just large
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
        """Returns how many messages it does not know yet; from MOST_COUNTED on, that."""
        query = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE id > ? LIMIT ?)"
        return self._connection.execute(query, (self._indexed_id, MOST_COUNTED)).fetchone()[0]

    def fill(self) -> tuple[int, int]:
        """Indexes a slice within the open transaction.

        Returns:
            The mark that holds once it is committed, and how many messages were indexed.
        """
        through, room, count = self._indexed_id, FILL_CHARS, 0
        with closing(
            self._connection.execute(
                "SELECT id, length(content) FROM messages WHERE id > ? ORDER BY id LIMIT ?", (through, FILL_SLICE)
            )
        ) as rows:
            for number, chars in rows:
                through, room, count = number, room - chars, count + 1
                if room <= 0:
                    break
        if not count:
            return through, 0
        self._connection.execute(
            "INSERT INTO search (rowid, mailbox, content)"
            " SELECT id, mailbox, content FROM searchable WHERE id > ? AND id <= ?",
            (self._indexed_id, through),
        )
        self._connection.execute("UPDATE meta SET value = ? WHERE name = 'indexed_id'", (through,))
        return through, count

    def note_filled(self, through: int) -> None:
        """Takes note that `fill` was committed."""
        self._indexed_id = through

    def remove(self, message_ids: Sequence[int]) -> None:
        """Takes messages out, before their rows are deleted in the same transaction."""
        self._connection.executemany(
            "INSERT INTO search (search, rowid, mailbox, content)"
            " SELECT 'delete', id, mailbox, content FROM searchable WHERE id = ? AND id <= ?",
            [(number, self._indexed_id) for number in message_ids],
        )


def match_expression(query: str) -> str:
    """Returns a person's words as an FTS5 expression; "" where there is nothing to look for.

    All words must be there; "several words" are a phrase; a word that ends in * is the beginning of one.
    """
    terms: list[str] = []
    for phrase, word in _TERM.findall(query.replace("\0", " ")):  # at a NUL, FTS5 would take the expression for ended
        text = phrase or word
        is_beginning = bool(word) and word.endswith("*")
        if any(one.isalnum() for one in text):
            terms.append('"' + text.replace('"', '""') + '"' + ("*" if is_beginning else ""))
    return " AND ".join(terms)


def matching_ids(
    connection: sqlite3.Connection, mailbox: str | None, expression: str, bound: int, limit: int
) -> list[int]:
    """Returns ids of messages below the bound that match, newest first; of every mailbox where None is given.

    Args:
        connection: may be a reader's.
        expression: from `match_expression`, not empty.
    """
    indexed_id = connection.execute("SELECT value FROM meta WHERE name = 'indexed_id'").fetchone()[0]
    rest = _matching_rest(connection, mailbox, expression, indexed_id, bound)[:limit]
    if len(rest) == limit:
        return rest
    scope = (
        f"mailbox : x{mailbox.encode().hex()} AND content : ({expression})"
        if mailbox is not None
        else (f"content : ({expression})")
    )
    rows = connection.execute(
        "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?",
        (scope, min(bound, indexed_id + 1), limit - len(rest)),  # not what was indexed since
    )
    return rest + [number for (number,) in rows]


def _matching_rest(
    connection: sqlite3.Connection, mailbox: str | None, expression: str, indexed_id: int, bound: int
) -> list[int]:
    """Looks through what is not indexed yet, with the same words and rules: in an index of its own, in memory."""
    whose, values = ("recipient = ? AND", (mailbox,)) if mailbox is not None else ("", ())
    rows = connection.execute(
        f"SELECT id, content FROM messages WHERE {whose} id > ? AND id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608
        (*values, indexed_id, bound, MAX_REST),
    ).fetchall()
    if not rows:
        return []
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        memory.execute(f"CREATE VIRTUAL TABLE rest USING fts5 (content, content = '', {_TOKENS})")
        memory.executemany("INSERT INTO rest (rowid, content) VALUES (?, ?)", rows)
        found = memory.execute("SELECT rowid FROM rest WHERE rest MATCH ? ORDER BY rowid DESC", (expression,))
        return [number for (number,) in found]
    finally:
        memory.close()
