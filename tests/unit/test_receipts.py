"""Each step of a message is a receipt for its sender, with an id of its own; the first is read from the message."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import cast

import pytest
from mailroomd.model.announcement import Receipt
from mailroomd.model.ids import MAX_ID
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailFiled
from mailroomd.protocol.operations import Acknowledged
from mailroomd.protocol.packets import Outcome
from mailroomd.storage.database.connection import open_archive
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.receipts import FORGET_SLICE, KEPT_MS, receipts_after
from support.harness.storing import NOW_MS, StoreHarness, done, draft

STORED, FILED, OFFERED, READ, EXPIRED, *_ = list(DeliveryState)[1:]
Step = tuple[int, int, DeliveryState]  # receipt_id, message, state


@pytest.fixture
def archive(harness: StoreHarness) -> Iterator[MessageArchive]:
    made = MessageArchive(harness.state_dir)
    yield made
    made.close()


def steps(archive: MessageArchive, *senders: str, cursor: int = 0, mark: int = MAX_ID, limit: int = 100) -> list[Step]:
    page = archive.receipts(senders or None, cursor, mark, limit)
    return [(receipt.id, receipt.message_id, receipt.state) for receipt in page]


def test_the_receipt_of_a_filed_message_has_the_next_id(harness: StoreHarness, archive: MessageArchive) -> None:
    (message_id,) = harness.send(draft())
    assert archive.receipts(["dashboard"], 0, MAX_ID, 10) == [
        Receipt(message_id + 1, "dashboard", message_id, "abc", FILED, NOW_MS + 5)
    ]
    assert harness.rows("SELECT * FROM receipts") == [], "it needs no row"


class Interrupted:
    """A reader's connection, between whose statements something else happens."""

    def __init__(self, connection: sqlite3.Connection, meanwhile: Callable[[], object]) -> None:
        self._connection = connection
        self._meanwhile = iter([lambda: None, meanwhile])

    def execute(self, sql: str, values: Sequence[object]) -> sqlite3.Cursor:
        next(self._meanwhile)()
        return self._connection.execute(sql, values)


def test_the_first_receipt_of_a_message_deleted_meanwhile_is_read_once(harness: StoreHarness) -> None:
    first, second = harness.send(draft(), draft())
    with closing(open_archive(harness.state_dir)) as connection:
        reading = Interrupted(connection, lambda: harness.commit(harness.clearing("abc", first)))
        page = receipts_after(cast("sqlite3.Connection", reading), ["dashboard"], 0, MAX_ID, 10)
    assert harness.rows("SELECT id FROM messages") == [(second,)]
    assert [(receipt.id, receipt.message_id, receipt.state) for receipt in page] == [
        (first + 1, first, FILED),
        (second + 1, second, FILED),
    ]


def test_a_message_without_a_file_is_stored_first_and_filed_later(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    (message_id,) = harness.send(draft())
    harness.store.files.record_unfiled({message_id: "no permission"})
    assert steps(archive, "dashboard") == [(message_id + 1, message_id, STORED)]
    harness.now_ms += 7
    filed = harness.sequenced(MailFiled((message_id,)))
    assert done(filed.id, "dashboard") in harness.commit(filed)
    assert steps(archive, "dashboard") == [(message_id + 1, message_id, STORED), (filed.id, message_id, FILED)]
    assert archive.receipts(["dashboard"], message_id + 1, MAX_ID, 10)[0].timestamp_ms == NOW_MS + 7


def test_a_file_that_is_written_twice_has_one_receipt(harness: StoreHarness, archive: MessageArchive) -> None:
    (message_id,) = harness.send(draft())
    harness.store.files.record_unfiled({message_id: "no permission"})
    harness.commit(harness.sequenced(MailFiled((message_id,))))
    again = harness.sequenced(MailFiled((message_id,)))
    assert done(again.id) in harness.commit(again)
    assert [state for _, _, state in steps(archive)] == [STORED, FILED]


def test_a_file_that_was_lost_and_written_again_is_not_a_step(harness: StoreHarness, archive: MessageArchive) -> None:
    (message_id,) = harness.send(draft())
    harness.store.files.record_unfiled({message_id: "its directory is gone"}, were_filed=True)
    harness.commit(harness.sequenced(MailFiled((message_id,))))
    assert steps(archive) == [(message_id + 1, message_id, FILED)]


def test_a_late_file_of_an_offered_message_is_not_a_step_back(harness: StoreHarness, archive: MessageArchive) -> None:
    (message_id,) = harness.send(draft())
    harness.store.files.record_unfiled({message_id: "no permission"})
    harness.commit(harness.offering("abc", message_id))
    harness.commit(harness.sequenced(MailFiled((message_id,))))
    assert [state for _, _, state in steps(archive)] == [STORED, OFFERED]
    assert harness.rows("SELECT state, file_error FROM messages") == [(OFFERED, "")]


def test_every_step_has_an_id_of_its_command_in_their_order(harness: StoreHarness, archive: MessageArchive) -> None:
    first, second, third = harness.send(draft(), draft(), draft(ttl_ms=1))
    offered = harness.offering("abc", first, second)
    read = harness.reading("abc", first)
    taken, expired = harness.sequenced(FilesTaken("abc", (second,))), harness.sequenced(MailExpired((third,)))
    harness.commit(offered, read, taken, expired)
    assert steps(archive, "dashboard") == [
        *[(message_id + 1, message_id, FILED) for message_id in (first, second, third)],
        (offered.id, first, OFFERED),
        (offered.id + 1, second, OFFERED),
        (read.id, first, READ),
        (taken.id, second, READ),
        (expired.id, third, EXPIRED),
    ]


def test_a_step_that_was_made_before_has_no_second_receipt(harness: StoreHarness, archive: MessageArchive) -> None:
    (message_id,) = harness.send(draft())
    harness.commit(harness.reading("abc", message_id, message_id))
    before = steps(archive)
    assert [state for _, _, state in before] == [FILED, READ]
    late = [
        harness.reading("abc", message_id),
        harness.offering("abc", message_id),
        harness.sequenced(FilesTaken("abc", (message_id,))),
        harness.sequenced(MailExpired((message_id,))),
    ]
    senders = [outcome.receipt_senders for outcome in harness.commit(*late) if isinstance(outcome, Outcome)]
    # A reading that is heard again may have lost its first outcome: its sender is woken, and finds no new receipt.
    assert senders == [["dashboard"], [], ["dashboard"], []]
    assert steps(archive) == before


def test_only_the_senders_of_the_messages_are_named_each_once(harness: StoreHarness) -> None:
    numbers = harness.send(*[draft(sender=name) for name in ("x", "y", "x")])
    read = harness.reading("abc", *numbers)
    assert Outcome(read.id, Acknowledged(numbers, []), ["x", "y"]) in harness.commit(read)


def test_one_sender_several_or_all_are_read_in_one_order(harness: StoreHarness, archive: MessageArchive) -> None:
    x, y, z = harness.send(*[draft(sender=name) for name in "xyz"])
    read = harness.reading("abc", z, x)
    harness.commit(read)
    assert steps(archive, "x") == [(x + 1, x, FILED), (read.id + 1, x, READ)]
    assert steps(archive, "y", "z") == [(y + 1, y, FILED), (z + 1, z, FILED), (read.id, z, READ)]
    assert steps(archive) == sorted(steps(archive, "x") + steps(archive, "y", "z"))
    assert steps(archive, "nobody") == []
    assert archive.receipts([], 0, MAX_ID, 10) == []


def test_pages_of_receipts_have_no_gap_or_overlap_and_end_at_the_mark(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    numbers = harness.send(*[draft(sender="xy"[n % 2]) for n in range(10)])
    harness.commit(harness.reading("abc", *numbers[::3]))
    everything = steps(archive)
    assert len(everything) == 14
    for limit in (1, 2, 5, 14):
        pages: list[Step] = []
        while page := steps(archive, cursor=pages[-1][0] if pages else 0, limit=limit):
            assert len(page) <= limit
            pages += page
        assert pages == everything
    assert archive.receipts(None, 0, MAX_ID, 14).is_cut
    assert not archive.receipts(None, 0, MAX_ID, 15).is_cut
    for receipt_id, _, _ in everything:
        assert steps(archive, mark=receipt_id) == [step for step in everything if step[0] <= receipt_id]
        assert steps(archive, mark=receipt_id - 1) == [step for step in everything if step[0] < receipt_id]


def test_receipts_are_forgotten_after_a_day_in_slices(harness: StoreHarness, archive: MessageArchive) -> None:
    old = harness.send(*[draft()] * (FORGET_SLICE + 10))
    harness.commit(harness.reading("abc", *old))
    harness.pass_to(NOW_MS + KEPT_MS - 1000)
    (young,) = harness.send(draft())
    harness.commit(harness.reading("abc", young))
    assert not harness.store.forget_old(harness.now_ms)
    assert archive.forgotten_id() == 0
    (newest_old_id,) = harness.rows("SELECT max(id) FROM receipts WHERE message_id != ?", young)
    harness.pass_to(NOW_MS + KEPT_MS + 1000)
    assert harness.store.forget_old(harness.now_ms)
    assert harness.rows("SELECT count(*) FROM receipts") == [(11,)]
    assert not harness.store.forget_old(harness.now_ms)
    assert harness.rows("SELECT message_id FROM receipts") == [(young,)]
    assert (archive.forgotten_id(),) == newest_old_id
    assert [state for _, message_id, state in steps(archive, limit=9999) if message_id == young] == [FILED, READ]
