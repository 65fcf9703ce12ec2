"""What the database knows of the inbox files: which are missing and why, and what a clearing left."""

import pytest
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import MailFiled
from mailroomd.storage.database.transactions import StoreFull
from support.harness.storing import NOW_MS, Desk, draft, fill_up, make_room

FILED, READ, STORED = DeliveryState.FILED, DeliveryState.READ, DeliveryState.STORED


def states(desk: Desk) -> list[tuple[int, str, int]]:
    return [
        (row[0], row[1], row[2]) for row in desk.rows("SELECT state, file_error, filed_ms FROM messages ORDER BY id")
    ]


def test_a_missing_file_is_recorded_and_recorded_again_once_it_is_written(desk: Desk) -> None:
    first, second = desk.letter(draft()), desk.letter(draft())
    desk.commit(first, second)
    desk.store.files.note_unfiled({first.id: "no permission"})
    assert states(desk) == [(STORED, "no permission", 0), (FILED, "", NOW_MS)]
    assert desk.store.files.unfiled() == [("abc", first.id)]
    assert desk.store.files.filed_after("", 0, 10) == [("abc", second.id)]
    desk.now_ms += 9
    desk.commit(desk.found(MailFiled((first.id,))))
    assert states(desk) == [(FILED, "", NOW_MS + 9), (FILED, "", NOW_MS)]
    assert desk.store.files.unfiled() == []


def test_records_of_files_never_undo_that_a_message_was_offered_or_read(desk: Desk) -> None:
    first, second = desk.letter(draft()), desk.letter(draft())
    desk.commit(first, second, desk.offering("abc", first.id))
    desk.commit(desk.reading("abc", second.id))
    before = states(desk)[1]
    for note in (
        lambda: desk.store.files.note_unfiled({first.id: "e", second.id: "e"}),
        lambda: desk.commit(desk.found(MailFiled((first.id, second.id)))),
    ):
        note()
        assert [state for state, _, _ in states(desk)] == [DeliveryState.OFFERED, READ]
        assert states(desk)[1] == before


def test_a_missing_file_is_recorded_before_the_synced_mark_passes_it(desk: Desk) -> None:
    """Otherwise the next start takes the missing file for first that its agent took away."""
    first = desk.letter(draft())
    desk.commit(first)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.files.note_unfiled({first.id: "x" * 20_000})
    make_room(desk)
    desk.store.note_synced(first.id)
    assert desk.store.mark("synced_id") == first.id
    assert desk.store.files.unfiled() == [("abc", first.id)]


def test_cleared_files_still_on_the_list_leave_it_with_the_next_record(desk: Desk) -> None:
    desk.connection.execute("INSERT INTO cleared_files (id, mailbox) VALUES (1, 'abc'), (2, 'abc')")
    first = desk.letter(draft())
    desk.commit(first)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.files.note_unfiled({first.id: "x" * 20_000})
    with pytest.raises(StoreFull):
        desk.store.files.forget_cleared([1])  # the note that waits goes along, and finds no room again
    make_room(desk)
    desk.store.note_synced(first.id)
    assert desk.store.files.cleared() == [("abc", 2)]
