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
    first, second = desk.message(draft()), desk.message(draft())
    desk.commit(first, second)
    desk.store.files.record_unfiled({first.id: "no permission"})
    assert states(desk) == [(STORED, "no permission", 0), (FILED, "", NOW_MS)]
    assert desk.store.files.unfiled() == [("abc", first.id)]
    assert desk.store.files.filed_after("", 0, 10) == [("abc", second.id)]
    desk.now_ms += 9
    desk.commit(desk.sequenced(MailFiled((first.id,))))
    assert states(desk) == [(FILED, "", NOW_MS + 9), (FILED, "", NOW_MS)]
    assert desk.store.files.unfiled() == []


def test_records_of_files_never_undo_that_a_message_was_offered_or_read(desk: Desk) -> None:
    first, second = desk.message(draft()), desk.message(draft())
    desk.commit(first, second, desk.offering("abc", first.id))
    desk.commit(desk.reading("abc", second.id))
    before = states(desk)[1]
    for note in (
        lambda: desk.store.files.record_unfiled({first.id: "e", second.id: "e"}),
        lambda: desk.commit(desk.sequenced(MailFiled((first.id, second.id)))),
    ):
        note()
        assert [state for state, _, _ in states(desk)] == [DeliveryState.OFFERED, READ]
        assert states(desk)[1] == before


def test_a_missing_file_is_recorded_before_the_synced_mark_passes_it(desk: Desk) -> None:
    """Otherwise the next start takes the missing file for a file that its agent took."""
    first = desk.message(draft())
    desk.commit(first)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.files.record_unfiled({first.id: "x" * 20_000})
    make_room(desk)
    desk.store.record_synced(first.id)
    assert desk.store.mark("synced_id") == first.id
    assert desk.store.files.unfiled() == [("abc", first.id)]


def test_cleared_files_still_on_the_list_leave_it_with_the_next_record(desk: Desk) -> None:
    desk.connection.execute("INSERT INTO cleared_files (id, mailbox) VALUES (1, 'abc'), (2, 'abc')")
    first = desk.message(draft())
    desk.commit(first)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.files.record_unfiled({first.id: "x" * 20_000})
    with pytest.raises(StoreFull):
        desk.store.files.forget_cleared([1])  # the note that waits goes along, and finds no room again
    make_room(desk)
    desk.store.record_synced(first.id)
    assert desk.store.files.cleared() == [("abc", 2)]


def test_missing_team_entries_of_one_recipient_are_listed_from_an_id_on(desk: Desk) -> None:
    bob = [desk.message(draft("bob@alpha")) for _ in range(4)]
    desk.commit(*bob, desk.message(draft("eve@alpha")))
    ids = [one.id for one in bob]
    desk.store.files.record_team_errors({ids[1]: ""})
    assert desk.store.files.missing_in_team_inbox("bob@alpha", 0, 10) == [ids[0], ids[2], ids[3]]
    assert desk.store.files.missing_in_team_inbox("bob@alpha", ids[1], 1) == [ids[2]]
