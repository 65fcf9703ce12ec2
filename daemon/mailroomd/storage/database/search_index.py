"""SearchIndex — the full-text index of the messages, filled later in slices so that no send waits for it.

Owns the FTS5 table `search`, the mark `indexed_id`, the words of a text and the syntax of a query. The table keeps no
text of its own ("contentless"): a message is removed by the words that it was indexed with.
Not here: searching (`message_search`), transactions, when to fill. Source of the query's form: sqlite.org/fts5.html.
Invariant: a message is in the index exactly if its id is at most `indexed_id`; a deleted message leaves the table and
the index in one transaction.
"""

__all__ = ["TOKENIZER", "SearchIndex", "mailbox_word", "match_expression", "separate_characters"]

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing

FILL_SLICE = 300  # messages in one transaction: some 3 ms
FILL_CHARS = 256 << 10  # of content in it, beyond the last message: some 20 ms
MAX_BACKLOG = 10_000  # a larger backlog is not counted
TOKENIZER = "unicode61 remove_diacritics 2"
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
# Chinese and Japanese are written without spaces, which the tokenizer takes for one word: Hiragana, Katakana (also
# half-width), Han with its extensions and marks, each with the voicing marks that may follow.
_UNSPACED = re.compile(
    "([\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9d\U00020000-\U000323af][\u3099\u309a\uff9e\uff9f]*)"
)


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
        indexed_id, room_chars, seen = self._indexed_id, FILL_CHARS, 0
        documents: list[tuple[int, str, str]] = []
        query = "SELECT id, recipient, content FROM messages WHERE id > ? ORDER BY id LIMIT ?"
        with closing(self._connection.execute(query, (indexed_id, FILL_SLICE))) as rows:
            for message_id, recipient, content in rows:
                seen += 1
                indexed_id = message_id
                if not _is_text(recipient, content):
                    continue  # a damaged row
                documents.append((message_id, mailbox_word(recipient), separate_characters(content)))
                room_chars -= len(content)
                if room_chars <= 0:
                    break
        if seen:
            self._connection.executemany("INSERT INTO search (rowid, mailbox, content) VALUES (?, ?, ?)", documents)
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'indexed_id'", (indexed_id,))
        return indexed_id, seen

    def on_filled(self, indexed_id: int) -> None:
        """Moves the mark after the commit of `fill`."""
        self._indexed_id = indexed_id

    def remove(self, message_ids: Sequence[int]) -> None:
        """Removes messages before their rows are deleted in the same transaction."""
        for message_id in message_ids:
            row = self._connection.execute(
                "SELECT recipient, content FROM messages WHERE id = ? AND id <= ?", (message_id, self._indexed_id)
            ).fetchone()
            if row is not None and _is_text(*row):
                self._connection.execute(
                    "INSERT INTO search (search, rowid, mailbox, content) VALUES ('delete', ?, ?, ?)",
                    (message_id, mailbox_word(row[0]), separate_characters(row[1])),
                )


def _is_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def mailbox_word(mailbox: str) -> str:
    """Returns a mailbox's name as one word, which no other name shares."""
    return f"x{mailbox.encode().hex()}"


def separate_characters(text: str) -> str:
    """Returns a text in which each Chinese or Japanese character is a word of its own."""
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)


def match_expression(query: str) -> str:
    """Returns a person's query as an FTS5 expression; "" if it contains no word.

    All words must match; "several words" are a phrase; a word that ends in * is a prefix. A run of Chinese or Japanese
    characters is a phrase.
    """
    terms: list[str] = []
    for phrase, word in _TERM.findall(query.replace("\0", " ")):  # FTS5 would take a NUL for the end of the expression
        text = phrase or word
        is_prefix = bool(word) and word.endswith("*")
        if any(character.isalnum() for character in text):
            quoted = separate_characters(text).replace('"', '""')
            terms.append(f'"{quoted}"{"*" if is_prefix else ""}')
    return " AND ".join(terms)
