"""After any kind of stop recovery makes the inbox files agree with the database, case by case."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mailroom.inbox_file_encoder import is_whole_inbox_file
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import FilesTaken
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.transactions import StoreFull
from mailroomd.storage.inbox import files as inbox_files
from mailroomd.storage.inbox import recovery
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.inbox.recovery import RecoveryReport, recover_files
from support.harness.storing import StoreHarness, draft

FILED, READ, STORED = DeliveryState.FILED, DeliveryState.READ, DeliveryState.STORED


class RecoverySetup:
    """A daemon with mail that was stored and filed before it stopped."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        (place / "state").mkdir()
        self.harness = StoreHarness(place / "state")
        self.files = InboxFiles(self.root)

    def send(self, *names: str) -> list[int]:
        mail = self.harness.result(*[self.harness.message(draft(name)) for name in names]).mail
        filing = self.filing()
        assert filing.file_mail(mail, 0.0) == {}
        filing.close()
        return [one.id for one in mail]

    def filing(self) -> Filing:
        return Filing(self.root, self.files, self.harness.store.files)

    def synced(self, number: int) -> None:
        self.harness.store.record_synced(number)

    def recover(self) -> RecoveryReport:
        """Stops and starts, with a crash's leftovers, recovers, and commits what was taken."""
        self.files.close()
        self.harness.reopen()
        self.files = InboxFiles(self.root)
        report = self.check()
        self.harness.commit(*map(self.harness.sequenced, report.taken))
        return report

    def check(self, beat: Callable[[], None] = lambda: None) -> RecoveryReport:
        """Recovers, and commits nothing of it."""
        return recover_files(self.harness.store.files, self.files, self.harness.store.mark("synced_id"), beat)

    def path(self, name: str, number: int) -> Path:
        return self.root / "inbox" / name / f"{number:016x}.json"

    def is_whole(self, name: str, number: int) -> bool:
        return is_whole_inbox_file(self.path(name, number).read_bytes(), number)

    def states(self, *numbers: int) -> list[DeliveryState]:
        found = [self.harness.store.files.message(number) for number in numbers]
        return [one.state for one in found if one is not None]


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[RecoverySetup]:
    made = RecoverySetup(tmp_path)
    yield made
    made.files.close()
    made.harness.store.close()


def test_recovery_touches_nothing_if_all_is_well(setup: RecoverySetup) -> None:
    first, last = setup.send("a", "b")
    before = [setup.path(name, number).stat().st_mtime_ns for name, number in (("a", first), ("b", last))]
    assert setup.recover() == RecoveryReport(checked=2)
    assert before == [setup.path(name, number).stat().st_mtime_ns for name, number in (("a", first), ("b", last))]


def test_a_missing_file_that_was_synced_was_taken_by_its_agent(setup: RecoverySetup) -> None:
    taken, kept = setup.send("a", "a")
    setup.synced(kept)
    setup.path("a", taken).unlink()
    report = setup.recover()
    assert (report.taken, report.rewritten) == ([FilesTaken("a", (taken,))], 0)
    assert setup.states(taken, kept) == [READ, FILED]
    assert setup.recover() == RecoveryReport(checked=1)


def test_a_missing_file_that_was_not_synced_is_written_again(setup: RecoverySetup) -> None:
    synced, fresh = setup.send("a", "a")
    setup.synced(synced)
    setup.path("a", fresh).unlink()
    report = setup.recover()
    assert (report.taken, report.rewritten) == ([], 1)
    assert setup.is_whole("a", fresh)
    assert setup.states(synced, fresh) == [FILED, FILED]


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


def a_link(path: Path) -> None:
    path.rename(path.with_suffix(".aside"))
    path.symlink_to(path.with_suffix(".aside"))


def another_message(path: Path) -> None:
    path.write_text('{"id": "0000000000000001"}')


@pytest.mark.parametrize("spoil", [emptied, torn, zeroed, a_link, another_message])
@pytest.mark.parametrize("is_synced", [True, False])
def test_a_file_that_is_not_whole_is_written_again(
    setup: RecoverySetup, spoil: Callable[[Path], None], is_synced: bool
) -> None:
    (number,) = setup.send("a")
    if is_synced:
        setup.synced(number)
    spoil(setup.path("a", number))
    assert setup.recover().rewritten == 1
    assert setup.is_whole("a", number)
    assert not setup.path("a", number).is_symlink()
    assert setup.states(number) == [FILED]


def test_a_file_that_its_agent_extended_is_left_as_it_is(setup: RecoverySetup) -> None:
    (number,) = setup.send("a")
    edited = setup.path("a", number).read_bytes()[:-2] + b',"seen":true}\n'
    setup.path("a", number).write_bytes(edited)
    assert setup.recover().rewritten == 0
    assert setup.path("a", number).read_bytes() == edited


def test_the_file_of_a_read_message_is_removed_and_foreign_files_stay(setup: RecoverySetup) -> None:
    read, unread = setup.send("a", "a")
    setup.harness.commit(setup.harness.reading("a", read))
    strangers = [setup.path("a", 77), setup.path("a", unread).with_name("note.txt")]
    for one in strangers:
        one.write_text("mine")
    (setup.root / "inbox" / "b").mkdir()
    in_another_mailbox = setup.path("b", read)
    in_another_mailbox.write_text("a copy")
    assert setup.recover().removed == 1
    assert not setup.path("a", read).exists()
    assert all(one.exists() for one in [*strangers, in_another_mailbox, setup.path("a", unread)])


@pytest.mark.parametrize("what", ["inbox", "inbox/a"])
def test_a_missing_directory_never_means_read(setup: RecoverySetup, what: str) -> None:
    numbers = setup.send("a", "a")
    setup.synced(numbers[-1])
    shutil.rmtree(setup.root / what)
    report = setup.recover()
    assert (report.taken, report.rewritten) == ([], 2)
    assert all(setup.is_whole("a", number) for number in numbers)


def test_a_file_in_place_of_a_directory_never_means_read(setup: RecoverySetup) -> None:
    *numbers, other = setup.send("a", "a", "b")
    setup.synced(other)
    directory = setup.root / "inbox" / "a"
    directory.rename(setup.root / "aside")
    directory.touch()
    report = setup.recover()
    assert (report.taken, report.rewritten) == ([], 0)
    assert report.errors.keys() == set(numbers)
    assert setup.states(*numbers, other) == [FILED, FILED, FILED]
    assert setup.harness.store.files.unfiled() == [("a", number) for number in numbers]
    directory.unlink()
    filing = setup.filing()
    for mailbox, number in setup.harness.store.files.unfiled():
        filing.retry_later(mailbox, number, 0.0)
    assert filing.retry_due(10.0) == numbers
    filing.close()
    assert all(setup.is_whole("a", number) for number in numbers)


def test_a_message_that_was_not_filed_yet_does_not_count_as_read(setup: RecoverySetup) -> None:
    (number,) = setup.send("a")
    setup.path("a", number).unlink()
    setup.harness.store.files.record_unfiled({number: "why"})
    setup.synced(number + 5)
    assert setup.recover() == RecoveryReport()
    assert setup.states(number) == [STORED]


def test_a_file_that_vanishes_after_the_listing_was_taken(
    setup: RecoverySetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    (number,) = setup.send("a")
    setup.synced(number)
    real = InboxFiles.read

    def read(files: InboxFiles, mailbox: str, wanted: int) -> bytes | None:
        setup.path(mailbox, wanted).unlink()
        return real(files, mailbox, wanted)

    monkeypatch.setattr(InboxFiles, "read", read)
    report = setup.recover()
    assert (report.taken, report.rewritten) == ([FilesTaken("a", (number,))], 0)


def test_a_long_mailbox_is_listed_once_and_checked_in_pages(
    setup: RecoverySetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "PAGE", 10)
    numbers = setup.send(*["a"] * 45, *["b"] * 3)
    setup.synced(numbers[-1])
    for number in numbers[:45:3]:
        setup.path("a", number).unlink()
    listed: list[str] = []
    beats: list[int] = []
    real = InboxFiles.list_ids

    def listing(files: InboxFiles, mailbox: str, beat: Callable[[], None]) -> set[int] | None:
        listed.append(mailbox)
        return real(files, mailbox, beat)

    monkeypatch.setattr(InboxFiles, "list_ids", listing)
    report = setup.check(lambda: beats.append(1))
    assert (report.checked, report.rewritten) == (48, 0)
    assert [one.mailbox for one in report.taken] == ["a"] * 5, "one for each page"
    assert [number for one in report.taken for number in one.message_ids] == numbers[:45:3]
    assert len(beats) >= 5
    assert listed == ["a", "b", *setup.files.mailboxes()]
    setup.harness.commit(*map(setup.harness.sequenced, report.taken))
    assert setup.harness.rows("SELECT total, unread FROM mailboxes WHERE name = 'a'") == [(45, 30)]


def test_millions_of_files_in_one_inbox_do_not_stop_the_heartbeat(
    setup: RecoverySetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_files, "BEAT_ENTRIES", 10)
    (setup.root / "inbox" / "huge").mkdir()
    for number in range(95):
        setup.path("huge", number + 1).touch()
    beats: list[int] = []
    setup.check(lambda: beats.append(1))
    assert len(beats) >= 9


def full(*_: object) -> None:
    raise StoreFull("no room")


def test_a_full_disk_neither_prevents_the_start_nor_loses_anything(
    setup: RecoverySetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, kept = setup.send("a", "b")
    setup.synced(kept)
    setup.path("a", taken).unlink()
    shutil.rmtree(setup.root / "inbox" / "b")
    (setup.root / "inbox" / "b").touch()
    monkeypatch.setattr(FileLedger, "write_queued", full)
    report = setup.check()
    assert (report.taken, report.errors.keys()) == ([FilesTaken("a", (taken,))], {kept})
    assert setup.harness.store.files.unfiled() == []
    monkeypatch.undo()
    setup.synced(kept + 1)
    assert setup.harness.store.files.unfiled() == [("b", kept)]
    assert setup.states(taken, kept) == [FILED, FILED]
    assert setup.recover().taken == [FilesTaken("a", (taken,))]
    assert setup.states(taken, kept) == [READ, FILED]


def test_recovery_leaves_no_descriptor_open(setup: RecoverySetup) -> None:
    setup.send(*[f"m{number}" for number in range(30)])
    setup.recover()
    before = len([*Path("/proc/self/fd").iterdir()])
    setup.check()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_file_that_an_agent_takes_while_recovery_writes_it_counts_as_read(
    setup: RecoverySetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files were never written before: the last process died right after its first commit."""
    setup.files.close()
    (taken, kept), (elsewhere,) = (
        [one.id for one in setup.harness.result(*[setup.harness.message(draft(name)) for name in names]).mail]
        for names in (("a", "a"), ("b",))
    )
    setup.harness.reopen()
    setup.files = InboxFiles(setup.root)
    filing = setup.filing()
    write = setup.files.write

    def write_and_take(directory: int, message_id: int, body: bytes) -> None:
        write(directory, message_id, body)
        if message_id == taken:
            setup.path("a", taken).unlink()

    monkeypatch.setattr(setup.files, "write", write_and_take)
    assert setup.check().rewritten == 3
    now_sec, reports = 100.0, list[FilesTaken]()
    while not reports and now_sec < 110:
        reports += filing.collect_taken(now_sec)
        now_sec += 0.1
    filing.close()
    assert reports == [FilesTaken("a", (taken,))]
    assert setup.is_whole("a", kept)
    assert setup.is_whole("b", elsewhere)
