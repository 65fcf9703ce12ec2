"""The counters of the mailboxes equal a recount, whatever happened."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailFiled
from mailroomd.protocol.packets import Command
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


class CountedDesk:
    """A desk, and the counts that it reported last for each mailbox."""

    def __init__(self, state_dir: Path) -> None:
        self.desk = Desk(state_dir)
        self.desk.rows("PRAGMA synchronous = OFF")
        self.reported: dict[str, tuple[int, int, int]] = {}
        self._batch: list[Command] = []

    def commit(self, *commands: Command | SequencedEvent) -> None:
        self.reported.update(counted(self.desk.commit(*self._batch, *commands)))
        self._batch.clear()

    def apply(self, kind: str, name: str, step: int) -> None:
        desk = self.desk
        rows = desk.rows("SELECT id FROM messages WHERE recipient = ?", name)
        ids = tuple(message_id for (message_id,) in rows)[:: step + 1]
        match kind:
            case "send":
                self._batch.append(desk.message(draft(name)))
                if step:
                    self.commit()
            case "fail":
                fill_up(desk)
                with pytest.raises(StoreFull):
                    desk.commit(desk.message(draft(name, "x" * 50_000)))
                make_room(desk)
            case "reopen":
                desk.reopen()
            case "unfile":
                desk.store.files.record_unfiled(dict.fromkeys(ids, "why"))
            case "sweep":
                self.commit()
                self.reported.update(counted(desk.store.delete_ended(desk.now_ms + 6, step, desk.now_ms)[1]))
            case _:
                self.commit(self.command(kind, name, ids))

    def command(self, kind: str, name: str, ids: tuple[int, ...]) -> Command | SequencedEvent:
        match kind:
            case "read":
                return self.desk.reading(name, *ids)
            case "offer":
                return self.desk.offering(name, *ids)
            case "clear":
                return self.desk.clearing(name, max(ids, default=0), 3)
            case "take":
                return self.desk.sequenced(FilesTaken(name, ids))
            case "file":
                return self.desk.sequenced(MailFiled(ids))
            case _:
                return self.desk.sequenced(MailExpired(ids))


@given(operations)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_counters_equal_a_recount_after_any_operations(steps: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        counting = CountedDesk(Path(directory))
        for kind, name, step in steps:
            counting.apply(kind, name, step)
        counting.commit()
        desk, reported = counting.desk, counting.reported
        assert reported == dict.fromkeys(reported, (0, 0, 0)) | recounted(desk)
        archive = MessageArchive(desk.state_dir)
        assert {row.name: (row.total, row.unread, row.oldest_unread_id) for row in archive.mailboxes()} == reported
        assert {name: archive.mailbox(name) for name in reported} == {row.name: row for row in archive.mailboxes()}
        archive.close()
        desk.store.close()
