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
from support.harness.storing import StoreHarness, counted, draft, fill_up, make_room, recounted

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
    """A harness, and the counts that it reported last for each mailbox."""

    def __init__(self, state_dir: Path) -> None:
        self.harness = StoreHarness(state_dir)
        self.harness.rows("PRAGMA synchronous = OFF")
        self.reported: dict[str, tuple[int, int, int]] = {}
        self._batch: list[Command] = []

    def commit(self, *commands: Command | SequencedEvent) -> None:
        self.reported.update(counted(self.harness.commit(*self._batch, *commands)))
        self._batch.clear()

    def apply(self, kind: str, name: str, step: int) -> None:
        harness = self.harness
        rows = harness.rows("SELECT id FROM messages WHERE recipient = ?", name)
        ids = tuple(message_id for (message_id,) in rows)[:: step + 1]
        match kind:
            case "send":
                self._batch.append(harness.message(draft(name)))
                if step:
                    self.commit()
            case "fail":
                fill_up(harness)
                with pytest.raises(StoreFull):
                    harness.commit(harness.message(draft(name, "x" * 50_000)))
                make_room(harness)
            case "reopen":
                harness.reopen()
            case "unfile":
                harness.store.files.record_unfiled(dict.fromkeys(ids, "why"))
            case "sweep":
                self.commit()
                self.reported.update(counted(harness.store.delete_ended(harness.now_ms + 6, step, harness.now_ms)[1]))
            case _:
                self.commit(self.command(kind, name, ids))

    def command(self, kind: str, name: str, ids: tuple[int, ...]) -> Command | SequencedEvent:
        match kind:
            case "read":
                return self.harness.reading(name, *ids)
            case "offer":
                return self.harness.offering(name, *ids)
            case "clear":
                return self.harness.clearing(name, max(ids, default=0), 3)
            case "take":
                return self.harness.sequenced(FilesTaken(name, ids))
            case "file":
                return self.harness.sequenced(MailFiled(ids))
            case _:
                return self.harness.sequenced(MailExpired(ids))


@given(operations)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_counters_equal_a_recount_after_any_operations(steps: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        counting = CountedDesk(Path(directory))
        for kind, name, step in steps:
            counting.apply(kind, name, step)
        counting.commit()
        harness, reported = counting.harness, counting.reported
        assert reported == dict.fromkeys(reported, (0, 0, 0)) | recounted(harness)
        archive = MessageArchive(harness.state_dir)
        assert {row.name: (row.total, row.unread, row.oldest_unread_id) for row in archive.mailboxes()} == reported
        assert {name: archive.mailbox(name) for name in reported} == {row.name: row for row in archive.mailboxes()}
        archive.close()
        harness.store.close()
