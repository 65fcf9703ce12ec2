"""Traffic — how many messages each sender sent to each mailbox in a period, counted in slices of the newest messages.

Owns the query and its bounds: what takes longer than a search may take is not counted, and the result says how far back
it reaches. Messages that are deleted are not counted. Above: `MessageArchive`.
"""

__all__ = ["Traffic", "count_traffic"]

import sqlite3
from collections import Counter
from typing import NamedTuple

from mailroomd.model.ids import MS_SHIFT, milliseconds_of
from mailroomd.storage.database.message_search import Deadline

SLICE = 5_000  # messages counted at once: some milliseconds


class Traffic(NamedTuple):
    """Messages by sender and mailbox.

    Attributes:
        counts: the numbers.
        since_ms: since when messages are counted, in milliseconds since 1970.
    """

    counts: Counter[tuple[str, str]]
    since_ms: int


def count_traffic(connection: sqlite3.Connection, begin_ms: int, durable_id: int, deadline: Deadline) -> Traffic:
    """Returns the messages since a time, by sender and mailbox.

    Args:
        connection: may be a reader's.
        begin_ms: milliseconds since 1970.
        durable_id: the high-water mark; nothing above it is counted.
        deadline: when to end with what is counted; the first slice is always counted.
    """
    counts = Counter[tuple[str, str]]()
    first_id, bound = max(0, begin_ms) << MS_SHIFT, durable_id + 1
    while True:
        rows = connection.execute(
            "SELECT sender, recipient, count(*), min(id) FROM"
            " (SELECT id, sender, recipient FROM messages WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?)"
            " GROUP BY sender, recipient",
            (first_id, bound, SLICE),
        ).fetchall()
        counts.update({(sender, recipient): count for sender, recipient, count, _ in rows})
        if sum(count for _, _, count, _ in rows) < SLICE:
            return Traffic(counts, begin_ms)
        bound = min(lowest_id for *_, lowest_id in rows)
        if deadline.is_over():
            return Traffic(counts, milliseconds_of(bound))
