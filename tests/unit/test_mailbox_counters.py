"""The counters of the mailboxes equal a recount, whatever happened."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailroomd.protocol.commands import Command
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailFiled
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.message_store import SequencedEvent
from mailroomd.storage.database.transactions import StoreFull
from support.harness.storing import Desk, counted, draft, fill_up, make_room, recounted

ENDS = ("expire", "clear", "sweep")
operations = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "read", "take", "fail", "reopen", "unfile", "file", "offer", *ENDS]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(operations)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_counters_equal_a_recount_after_any_operations(steps: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(Path(place))
        desk.rows("PRAGMA synchronous = OFF")
        reported: dict[str, tuple[int, int, int]] = {}
        batch: list[Command] = []

        def commit(*more: Command | SequencedEvent) -> None:
            reported.update(counted(desk.commit(*batch, *more)))
            batch.clear()

        for kind, name, step in steps:
            ids = [message_id for (message_id,) in desk.rows("SELECT id FROM messages WHERE recipient = ?", name)][:: step + 1]
            if kind == "send":
                batch.append(desk.letter(draft(name)))
                if step:
                    commit()
            elif kind == "read":
                commit(desk.reading(name, *ids))
            elif kind == "take":
                commit(desk.found(FilesTaken(name, tuple(ids))))
            elif kind == "fail":
                fill_up(desk)
                with pytest.raises(StoreFull):
                    desk.commit(desk.letter(draft(name, "x" * 50_000)))
                make_room(desk)
            elif kind == "reopen":
                desk.reopen()
            elif kind == "unfile":
                desk.store.files.note_unfiled(dict.fromkeys(ids, "why"))
            elif kind == "file":
                commit(desk.found(MailFiled(tuple(ids))))
            elif kind == "expire":
                commit(desk.found(MailExpired(tuple(ids))))
            elif kind == "clear":
                commit(desk.clearing(name, max(ids, default=0), 3))
            elif kind == "sweep":
                commit()
                reported.update(counted(desk.store.delete_ended(desk.now_ms + 1, step, desk.now_ms)[1]))
            else:
                commit(desk.offering(name, *ids))
        commit()
        assert reported == dict.fromkeys(reported, (0, 0, 0)) | recounted(desk)
        archive = MessageArchive(desk.state_dir)
        assert {row.name: (row.total, row.unread, row.oldest_unread_id) for row in archive.mailboxes()} == reported
        assert {name: archive.mailbox(name) for name in reported} == {row.name: row for row in archive.mailboxes()}
        archive.close()
        desk.store.close()
