"""MailboxEntry — one mailbox in the memory of the mailbox worker: its counts, and what is not durable yet.

Owns publishing the counts to the readers. Not here: the table's records (`TableWriter`), its slots (`MailboxSlots`).
"""

__all__ = ["MailboxEntry"]

from mailroomd.memory.double_cell import DoubleCell
from mailroomd.table.layout import COUNTS, MailboxCounts


class MailboxEntry:
    """One mailbox: the counts that readers see once they are published, and what is not durable yet.

    Attributes:
        pending: number of messages that were appended and are not durable yet.
        append_position: of the newest record, durable or not.
        seen_written_ms: the last_seen_ms that was last sent to the database.
    """

    __slots__ = (
        "append_position",
        "cell",
        "last_seen_ms",
        "name",
        "newest_position",
        "newest_response_id",
        "oldest_unread_id",
        "pending",
        "seen_written_ms",
        "subscribers",
        "total",
        "unread",
    )

    def __init__(self, name: str, cell: DoubleCell | None) -> None:
        self.name = name
        self.cell = cell
        self.total = 0
        self.unread = 0
        self.oldest_unread_id = 0
        self.newest_position = 0
        self.append_position = 0
        self.pending = 0
        self.last_seen_ms = 0
        self.seen_written_ms = 0
        self.subscribers = 0
        self.newest_response_id = 0

    def is_idle(self, tail: int) -> bool:
        """Returns whether the entry holds nothing worth keeping except when its agent was last seen.

        Args:
            tail: position of the oldest record in the ring.
        """
        return (
            not (self.total or self.pending or self.newest_response_id)
            and self.subscribers <= 0
            and self.append_position < max(tail, 1)
        )

    def publish(self) -> None:
        """Publishes the counts to the readers, if the mailbox has a slot."""
        if self.cell is not None:
            self.cell.write(self.packed_counts())

    def packed_counts(self) -> bytes:
        """Returns the counts as readers find them in the table."""
        counts = MailboxCounts(
            self.total,
            self.unread,
            self.oldest_unread_id,
            self.newest_position,
            self.last_seen_ms,
            self.subscribers,
            self.newest_response_id,
        )
        return COUNTS.pack(*counts)
