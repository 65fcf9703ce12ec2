"""The mailbox table is filled from the database when the mailbox worker starts."""

from collections.abc import Iterator

import pytest
from mailroomd.mailbox.table_filling import fill_table
from mailroomd.protocol.packets import NoteSeen
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.table.reader import NotInTable
from support.harness.mailbox_table import Table
from support.harness.storing import NOW_MS, StoreHarness, draft


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table(ring_bytes=1 << 20, slots=64)
    yield made
    made.memory.close()


def test_the_newest_messages_and_all_counts_are_loaded(harness: StoreHarness, table: Table) -> None:
    ids = harness.send(*(draft(f"agent-{number % 3}", f"content {number}") for number in range(30)))
    archive = MessageArchive(harness.state_dir)
    fill = fill_table(table.writer, archive, lambda: None)
    archive.close()
    assert (fill.last_id, fill.mailboxes, fill.messages) == (harness.last_id, 3, 30)
    assert [record.id for record in table.reader.after_all(0, 100)[0]] == ids
    counts = table.reader.counts("agent-1")
    assert counts is not None
    assert (counts.total, counts.unread, counts.oldest_unread_id) == (10, 10, ids[1])


def test_agents_that_make_calls_get_slots_before_names_that_are_only_written_to(
    harness: StoreHarness, table: Table
) -> None:
    harness.send(*(draft(f"made-up-{number}") for number in range(200)))
    (message_id,) = harness.send(draft("zoe"))
    harness.commit(NoteSeen("zoe", NOW_MS))
    archive = MessageArchive(harness.state_dir)
    fill_table(table.writer, archive, lambda: None)
    archive.close()
    assert [record.id for record in table.reader.unread("zoe", 10)] == [message_id]
    with pytest.raises(NotInTable):
        table.reader.counts("not here")
