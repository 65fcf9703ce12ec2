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


def test_a_file_that_could_not_be_written_is_noted_and_noted_again_when_it_is_there(desk: Desk) -> None:
    one, other = desk.letter(draft()), desk.letter(draft())
    desk.commit(one, other)
    desk.store.files.note_unfiled({one.id: "no permission"})
    assert states(desk) == [(STORED, "no permission", 0), (FILED, "", NOW_MS)]
    assert desk.store.files.unfiled() == [("abc", one.id)]
    assert desk.store.files.filed_after("", 0, 10) == [("abc", other.id)]
    desk.now_ms += 9
    desk.commit(desk.found(MailFiled((one.id,))))
    assert states(desk) == [(FILED, "", NOW_MS + 9), (FILED, "", NOW_MS)]
    assert desk.store.files.unfiled() == []


def test_notes_about_files_never_take_back_that_a_message_was_offered_or_read(desk: Desk) -> None:
    one, other = desk.letter(draft()), desk.letter(draft())
    desk.commit(one, other, desk.offering("abc", one.id))
    desk.commit(desk.reading("abc", other.id))
    before = states(desk)[1]
    for note in (
        lambda: desk.store.files.note_unfiled({one.id: "e", other.id: "e"}),
        lambda: desk.commit(desk.found(MailFiled((one.id, other.id)))),
    ):
        note()
        assert [state for state, _, _ in states(desk)] == [DeliveryState.OFFERED, READ]
        assert states(desk)[1] == before


def test_a_missing_file_that_could_not_be_noted_is_noted_before_the_synced_mark_passes_it(desk: Desk) -> None:
    """Otherwise the next start takes the missing file for one that its agent took away."""
    one = desk.letter(draft())
    desk.commit(one)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.files.note_unfiled({one.id: "x" * 20_000})
    make_room(desk)
    desk.store.note_synced(one.id)
    assert desk.store.mark("synced_id") == one.id
    assert desk.store.files.unfiled() == [("abc", one.id)]


def test_cleared_files_that_could_not_be_taken_off_the_list_go_with_the_next_note(desk: Desk) -> None:
    desk.connection.execute("INSERT INTO cleared_files (id, mailbox) VALUES (1, 'abc'), (2, 'abc')")
    one = desk.letter(draft())
    desk.commit(one)
    fill_up(desk)
    with pytest.raises(StoreFull):
        desk.store.files.note_unfiled({one.id: "x" * 20_000})
    with pytest.raises(StoreFull):
        desk.store.files.forget_cleared([1])  # the note that waits goes along, and finds no room again
    make_room(desk)
    desk.store.note_synced(one.id)
    assert desk.store.files.cleared() == [("abc", 2)]


def test_missing_team_entries_of_one_recipient_are_listed_from_an_id_on(desk: Desk) -> None:
    bob = [desk.letter(draft("bob@alpha")) for _ in range(4)]
    desk.commit(*bob, desk.letter(draft("eve@alpha")))
    ids = [one.id for one in bob]
    desk.store.files.note_team_errors({ids[1]: ""})
    assert desk.store.files.missing_in_team_inbox("bob@alpha", 0, 10) == [ids[0], ids[2], ids[3]]
    assert desk.store.files.missing_in_team_inbox("bob@alpha", ids[1], 1) == [ids[2]]
