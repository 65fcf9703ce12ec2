"""Table — a small mailbox table with its writer and its readers, for tests within one process."""

__all__ = ["RING_BYTES", "SLOTS", "Table"]

from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.states import DeliveryState
from mailroomd.table.entry import MailboxEntry
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.table.slot_reader import SlotReader
from mailroomd.table.writer import TableWriter

RING_BYTES = 64 << 10
SLOTS = 8  # six for mailboxes whose agents made no call: the seventh overflows


class Table:
    """A table in shared memory with its writer and its readers."""

    def __init__(self, ring_bytes: int = RING_BYTES, slots: int = SLOTS) -> None:
        self.layout = TableLayout.for_ring(ring_bytes, slots)
        self.memory = SharedMemory.create("table", self.layout.size_bytes)
        self.words = self.memory.buffer.cast("Q")
        self.reader = TableReader(self.memory.buffer, self.layout)
        self.slots = SlotReader(self.memory.buffer, self.layout)
        self.start_writer()

    def start_writer(self) -> None:
        self.writer = TableWriter(self.memory.buffer, self.layout)

    def rebuilt(self) -> "Table":
        self.writer.begin_rebuild(0)
        self.writer.finish_rebuild(0)
        return self

    def store(self, message_id: int, name: str, body: bytes = b"", state: DeliveryState = DeliveryState.FILED) -> int:
        """Appends a message and makes it visible."""
        entry = self.writer.entry(name)
        position = self.writer.append(message_id, message_id * 10, entry, body, state)
        self.publish(message_id, entry, position)
        return position

    def publish(self, message_id: int, entry: MailboxEntry, position: int) -> None:
        entry.pending -= 1
        entry.total += 1
        entry.unread += 1
        entry.oldest_unread_id = entry.oldest_unread_id or message_id
        entry.newest_position = position
        entry.publish()
        self.writer.advance_high_water_mark(message_id)
