"""What the database knows of the inbox files: which are missing and why, and what a clearing left."""

import pytest
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import MailFiled
from mailroomd.storage.database.transactions import StoreFull
from support.harness.storing import NOW_MS, StoreHarness, draft, fill_up, make_room

FILED, READ, STORED = DeliveryState.FILED, DeliveryState.READ, DeliveryState.STORED


def states(harness: StoreHarness) -> list[tuple[int, str, int]]:
    return [
        (row[0], row[1], row[2]) for row in harness.rows("SELECT state, file_error, filed_ms FROM messages ORDER BY id")
    ]


def test_a_missing_file_is_recorded_and_recorded_again_once_it_is_written(harness: StoreHarness) -> None:
    first, second = harness.message(draft()), harness.message(draft())
    harness.commit(first, second)
    harness.store.files.record_unfiled({first.id: "no permission"})
    assert states(harness) == [(STORED, "no permission", 0), (FILED, "", NOW_MS)]
    assert harness.store.files.unfiled() == [("abc", first.id)]
    assert harness.store.files.filed_after("", 0, 10) == [("abc", second.id)]
    harness.now_ms += 9
    harness.commit(harness.sequenced(MailFiled((first.id,))))
    assert states(harness) == [(FILED, "", NOW_MS + 9), (FILED, "", NOW_MS)]
    assert harness.store.files.unfiled() == []


def test_records_of_files_never_undo_that_a_message_was_offered_or_read(harness: StoreHarness) -> None:
    first, second = harness.message(draft()), harness.message(draft())
    harness.commit(first, second, harness.offering("abc", first.id))
    harness.commit(harness.reading("abc", second.id))
    before = states(harness)[1]
    for note in (
        lambda: harness.store.files.record_unfiled({first.id: "e", second.id: "e"}),
        lambda: harness.commit(harness.sequenced(MailFiled((first.id, second.id)))),
    ):
        note()
        assert [state for state, _, _ in states(harness)] == [DeliveryState.OFFERED, READ]
        assert states(harness)[1] == before


def test_a_missing_file_is_recorded_before_the_synced_mark_passes_it(harness: StoreHarness) -> None:
    """Otherwise the next start takes the missing file for a file that its agent took."""
    first = harness.message(draft())
    harness.commit(first)
    fill_up(harness)
    with pytest.raises(StoreFull):
        harness.store.files.record_unfiled({first.id: "x" * 20_000})
    make_room(harness)
    harness.store.record_synced(first.id)
    assert harness.store.mark("synced_id") == first.id
    assert harness.store.files.unfiled() == [("abc", first.id)]


def test_cleared_files_still_on_the_list_leave_it_with_the_next_record(harness: StoreHarness) -> None:
    harness.connection.execute("INSERT INTO cleared_files (id, mailbox) VALUES (1, 'abc'), (2, 'abc')")
    first = harness.message(draft())
    harness.commit(first)
    fill_up(harness)
    with pytest.raises(StoreFull):
        harness.store.files.record_unfiled({first.id: "x" * 20_000})
    with pytest.raises(StoreFull):
        harness.store.files.forget_cleared([1])  # the note that waits goes along, and finds no room again
    make_room(harness)
    harness.store.record_synced(first.id)
    assert harness.store.files.cleared() == [("abc", 2)]


def test_missing_team_entries_of_one_recipient_are_listed_from_an_id_on(harness: StoreHarness) -> None:
    bob = [harness.message(draft("bob@alpha")) for _ in range(4)]
    harness.commit(*bob, harness.message(draft("eve@alpha")))
    ids = [one.id for one in bob]
    harness.store.files.record_team_errors({ids[1]: ""})
    assert harness.store.files.missing_in_team_inbox("bob@alpha", 0, 10) == [ids[0], ids[2], ids[3]]
    assert harness.store.files.missing_in_team_inbox("bob@alpha", ids[1], 1) == [ids[2]]
