"""Each step of a message is a receipt for its sender, at its own place; the first one is read from the message."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import cast

import pytest
from mailroomd.model.announcement import Receipt
from mailroomd.model.ids import MAX_ID
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.commands import ReadWritten, StepsWritten
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailFiled
from mailroomd.storage.database.connection import open_archive
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.receipts import FORGET_SLICE, KEPT_MS, receipts_after
from support.harness.storing import NOW_MS, Desk, draft

STORED, FILED, OFFERED, READ, EXPIRED = list(DeliveryState)[1:]
Step = tuple[int, int, DeliveryState]  # place, message, state


@pytest.fixture
def archive(desk: Desk) -> Iterator[MessageArchive]:
    made = MessageArchive(desk.state_dir)
    yield made
    made.close()


def steps(archive: MessageArchive, *senders: str, cursor: int = 0, mark: int = MAX_ID, limit: int = 100) -> list[Step]:
    found = archive.receipts(senders or None, cursor, mark, limit)
    return [(one.id, one.message_id, one.state) for one in found]


def test_a_filed_message_has_its_receipt_at_the_number_behind_its_own(desk: Desk, archive: MessageArchive) -> None:
    (number,) = desk.send(draft())
    assert archive.receipts(["dashboard"], 0, MAX_ID, 10) == [
        Receipt(number + 1, "dashboard", number, "abc", FILED, NOW_MS + 5)
    ]
    assert desk.rows("SELECT * FROM receipts") == [], "it needs no row"


class Interrupted:
    """A reader's connection, between whose statements something else happens."""

    def __init__(self, connection: sqlite3.Connection, meanwhile: Callable[[], object]) -> None:
        self._connection = connection
        self._meanwhile = iter([lambda: None, meanwhile])

    def execute(self, sql: str, values: Sequence[object]) -> sqlite3.Cursor:
        next(self._meanwhile)()
        return self._connection.execute(sql, values)


def test_the_first_receipt_of_a_message_that_is_deleted_during_the_reading_is_read_once(desk: Desk) -> None:
    first, second = desk.send(draft(), draft())
    with closing(open_archive(desk.state_dir)) as connection:
        reading = Interrupted(connection, lambda: desk.commit(desk.clearing("abc", first)))
        found = receipts_after(cast("sqlite3.Connection", reading), ["dashboard"], 0, MAX_ID, 10)
    assert desk.rows("SELECT id FROM messages") == [(second,)]
    assert [(one.id, one.message_id, one.state) for one in found] == [
        (first + 1, first, FILED),
        (second + 1, second, FILED),
    ]


def test_a_message_without_a_file_is_stored_first_and_filed_at_a_later_place(
    desk: Desk, archive: MessageArchive
) -> None:
    (number,) = desk.send(draft())
    desk.store.files.note_unfiled({number: "no permission"})
    assert steps(archive, "dashboard") == [(number + 1, number, STORED)]
    desk.now_ms += 7
    found = desk.found(MailFiled((number,)))
    assert StepsWritten(found.id, ["dashboard"]) in desk.commit(found)
    assert steps(archive, "dashboard") == [(number + 1, number, STORED), (found.id, number, FILED)]
    assert archive.receipts(["dashboard"], number + 1, MAX_ID, 10)[0].timestamp_ms == NOW_MS + 7


def test_a_file_that_is_written_twice_is_told_once(desk: Desk, archive: MessageArchive) -> None:
    (number,) = desk.send(draft())
    desk.store.files.note_unfiled({number: "no permission"})
    desk.commit(desk.found(MailFiled((number,))))
    again = desk.found(MailFiled((number,)))
    assert StepsWritten(again.id, []) in desk.commit(again)
    assert [state for _, _, state in steps(archive)] == [STORED, FILED]


def test_a_file_that_was_lost_and_is_there_again_is_no_step(desk: Desk, archive: MessageArchive) -> None:
    (number,) = desk.send(draft())
    desk.store.files.note_unfiled({number: "its directory is gone"}, were_filed=True)
    desk.commit(desk.found(MailFiled((number,))))
    assert steps(archive) == [(number + 1, number, FILED)]


def test_a_late_file_of_a_message_that_was_offered_meanwhile_is_no_step_back(
    desk: Desk, archive: MessageArchive
) -> None:
    (number,) = desk.send(draft())
    desk.store.files.note_unfiled({number: "no permission"})
    desk.commit(desk.offering("abc", number))
    desk.commit(desk.found(MailFiled((number,))))
    assert [state for _, _, state in steps(archive)] == [STORED, OFFERED]
    assert desk.rows("SELECT state, file_error FROM messages") == [(OFFERED, "")]


def test_every_step_takes_a_number_of_its_command_and_they_come_in_their_order(
    desk: Desk, archive: MessageArchive
) -> None:
    one, two, three = desk.send(draft(), draft(), draft(ttl_ms=1))
    offered = desk.offering("abc", one, two)
    read = desk.reading("abc", one)
    taken, expired = desk.found(FilesTaken("abc", (two,))), desk.found(MailExpired((three,)))
    desk.commit(offered, read, taken, expired)
    assert steps(archive, "dashboard") == [
        *[(number + 1, number, FILED) for number in (one, two, three)],
        (offered.id, one, OFFERED),
        (offered.id + 1, two, OFFERED),
        (read.id, one, READ),
        (taken.id, two, READ),
        (expired.id, three, EXPIRED),
    ]


def test_a_step_that_was_made_before_has_no_second_receipt(desk: Desk, archive: MessageArchive) -> None:
    (number,) = desk.send(draft())
    desk.commit(desk.reading("abc", number, number))
    before = steps(archive)
    assert [state for _, _, state in before] == [FILED, READ]
    late = [
        desk.reading("abc", number),
        desk.offering("abc", number),
        desk.found(FilesTaken("abc", (number,))),
        desk.found(MailExpired((number,))),
    ]
    senders = [one.senders for one in desk.commit(*late) if isinstance(one, StepsWritten | ReadWritten)]
    # A reading that is heard again may have lost its first outcome: its sender is woken, and finds no new receipt.
    assert senders == [["dashboard"], [], ["dashboard"], []]
    assert steps(archive) == before


def test_only_the_senders_of_the_messages_are_named_each_once(desk: Desk) -> None:
    numbers = desk.send(*[draft(sender=name) for name in ("x", "y", "x")])
    read = desk.reading("abc", *numbers)
    assert ReadWritten(read.id, "abc", numbers, [], ["x", "y"]) in desk.commit(read)


def test_one_sender_several_or_all_are_read_in_one_order(desk: Desk, archive: MessageArchive) -> None:
    x, y, z = desk.send(*[draft(sender=name) for name in "xyz"])
    read = desk.reading("abc", z, x)
    desk.commit(read)
    assert steps(archive, "x") == [(x + 1, x, FILED), (read.id + 1, x, READ)]
    assert steps(archive, "y", "z") == [(y + 1, y, FILED), (z + 1, z, FILED), (read.id, z, READ)]
    assert steps(archive) == sorted(steps(archive, "x") + steps(archive, "y", "z"))
    assert steps(archive, "nobody") == []
    assert archive.receipts([], 0, MAX_ID, 10) == []


def test_pages_of_receipts_follow_each_other_without_gap_or_repetition_and_end_at_the_mark(
    desk: Desk, archive: MessageArchive
) -> None:
    numbers = desk.send(*[draft(sender="xy"[n % 2]) for n in range(10)])
    desk.commit(desk.reading("abc", *numbers[::3]))
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
    for place, _, _ in everything:
        assert steps(archive, mark=place) == [one for one in everything if one[0] <= place]
        assert steps(archive, mark=place - 1) == [one for one in everything if one[0] < place]


def test_receipts_are_forgotten_after_a_day_in_slices(desk: Desk, archive: MessageArchive) -> None:
    old = desk.send(*[draft()] * (FORGET_SLICE + 10))
    desk.commit(desk.reading("abc", *old))
    desk.pass_to(NOW_MS + KEPT_MS - 1000)
    (young,) = desk.send(draft())
    desk.commit(desk.reading("abc", young))
    assert not desk.store.forget_old(desk.now_ms)
    desk.pass_to(NOW_MS + KEPT_MS + 1000)
    assert desk.store.forget_old(desk.now_ms)
    assert desk.rows("SELECT count(*) FROM receipts") == [(11,)]
    assert not desk.store.forget_old(desk.now_ms)
    assert desk.rows("SELECT message_id FROM receipts") == [(young,)]
    assert [state for _, number, state in steps(archive, limit=9999) if number == young] == [FILED, READ]
