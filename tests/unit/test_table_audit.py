"""A table that misses deletions of the database: the difference is found, and nothing else."""

import sqlite3
from collections.abc import Iterator

import pytest
from mailroomd.command_queue.table_audit import lost_deletions
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.reports import MailboxCounted, StatesAdvanced
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.table.writer import TableWriter

LAYOUT = TableLayout.for_ring(64 << 10, 16)


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    made = SharedMemory.create("table-audit", LAYOUT.size_bytes)
    yield made
    made.close()


def filled(memory: SharedMemory, *mail: tuple[int, str]) -> TableReader:
    """Returns a table that shows these messages, all unread."""
    writer = TableWriter(memory.buffer, LAYOUT)
    writer.begin_rebuild(0)
    writer.finish_rebuild(0)
    for number, mailbox in mail:
        entry = writer.entry(mailbox)
        entry.newest_position = writer.append(number, number, entry, b"body", DeliveryState.FILED)
        entry.pending -= 1
        entry.total += 1
        entry.unread += 1
        entry.publish()
        writer.advance_high_water_mark(number)
    return writer.reader


def database(*mail: tuple[int, str]) -> sqlite3.Connection:
    """Returns a database that has these messages, and both mailboxes."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, recipient TEXT)")
    connection.execute("CREATE TABLE mailboxes (name TEXT PRIMARY KEY, total INTEGER, unread INTEGER)")
    connection.executemany("INSERT INTO messages VALUES (?, ?)", mail)
    for name in ("a", "b"):
        count = sum(mailbox == name for _, mailbox in mail)
        connection.execute("INSERT INTO mailboxes VALUES (?, ?, ?)", (name, count, count))
    return connection


def counted(mailbox: str) -> MailboxCounted:
    return MailboxCounted(mailbox, 0, 0, 0)


def test_messages_that_the_database_deleted_are_removed_and_subtracted(memory: SharedMemory) -> None:
    table = filled(memory, (1, "a"), (2, "b"), (3, "a"))
    assert lost_deletions(table, database((2, "b")), counted) == [
        StatesAdvanced(DeliveryState.VOIDED, [1, 3]),
        counted("a"),
    ]


def test_a_table_that_agrees_needs_nothing(memory: SharedMemory) -> None:
    table = filled(memory, (1, "a"), (2, "b"))
    assert lost_deletions(table, database((1, "a"), (2, "b")), counted) == []


def test_a_table_that_is_being_filled_needs_nothing(memory: SharedMemory) -> None:
    filled(memory, (1, "a"))
    writer = TableWriter(memory.buffer, LAYOUT)
    writer.begin_rebuild(0)
    assert lost_deletions(writer.reader, database(), counted) == []


def test_a_mailbox_that_the_database_has_forgotten_counts_as_empty(memory: SharedMemory) -> None:
    table = filled(memory, (1, "a"), (2, "c"))
    assert lost_deletions(table, database((1, "a")), counted) == [
        StatesAdvanced(DeliveryState.VOIDED, [2]),
        counted("c"),
    ]


def test_a_table_without_room_for_every_mailbox_is_compared_as_far_as_it_goes(memory: SharedMemory) -> None:
    others = [(number, f"m{number}") for number in range(10, 10 + 2 * LAYOUT.slots)]
    table = filled(memory, (1, "a"), *others)
    assert counted("a") in lost_deletions(table, database(*others), counted)
