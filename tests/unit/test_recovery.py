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
from support.harness.storing import Desk, draft

FILED, READ, STORED = DeliveryState.FILED, DeliveryState.READ, DeliveryState.STORED


class Office:
    """A daemon with mail that was stored and filed before it stopped."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        (place / "state").mkdir()
        self.desk = Desk(place / "state")
        self.files = InboxFiles(self.root)

    def send(self, *names: str) -> list[int]:
        mail = self.desk.result(*[self.desk.message(draft(name)) for name in names]).mail
        filing = self.filing()
        assert filing.file_mail(mail, 0.0) == {}
        filing.close()
        return [one.id for one in mail]

    def filing(self) -> Filing:
        return Filing(self.root, self.files, self.desk.store.files)

    def synced(self, number: int) -> None:
        self.desk.store.record_synced(number)

    def recover(self) -> RecoveryReport:
        """Stops and starts, with a crash's leftovers, recovers, and commits what was taken."""
        self.files.close()
        self.desk.reopen()
        self.files = InboxFiles(self.root)
        report = self.check()
        self.desk.commit(*map(self.desk.sequenced, report.taken))
        return report

    def check(self, beat: Callable[[], None] = lambda: None) -> RecoveryReport:
        """Recovers, and commits nothing of it."""
        return recover_files(self.desk.store.files, self.files, self.desk.store.mark("synced_id"), beat)

    def path(self, name: str, number: int) -> Path:
        return self.root / "inbox" / name / f"{number:016x}.json"

    def is_whole(self, name: str, number: int) -> bool:
        return is_whole_inbox_file(self.path(name, number).read_bytes(), number)

    def states(self, *numbers: int) -> list[DeliveryState]:
        found = [self.desk.store.files.message(number) for number in numbers]
        return [one.state for one in found if one is not None]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.files.close()
    made.desk.store.close()


def test_recovery_touches_nothing_if_all_is_well(office: Office) -> None:
    first, last = office.send("a", "b")
    before = [office.path(name, number).stat().st_mtime_ns for name, number in (("a", first), ("b", last))]
    assert office.recover() == RecoveryReport(checked=2)
    assert before == [office.path(name, number).stat().st_mtime_ns for name, number in (("a", first), ("b", last))]


def test_a_missing_file_that_was_synced_was_taken_by_its_agent(office: Office) -> None:
    taken, kept = office.send("a", "a")
    office.synced(kept)
    office.path("a", taken).unlink()
    report = office.recover()
    assert (report.taken, report.rewritten) == ([FilesTaken("a", (taken,))], 0)
    assert office.states(taken, kept) == [READ, FILED]
    assert office.recover() == RecoveryReport(checked=1)


def test_a_missing_file_that_was_not_synced_is_written_again(office: Office) -> None:
    synced, fresh = office.send("a", "a")
    office.synced(synced)
    office.path("a", fresh).unlink()
    report = office.recover()
    assert (report.taken, report.rewritten) == ([], 1)
    assert office.is_whole("a", fresh)
    assert office.states(synced, fresh) == [FILED, FILED]


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
    office: Office, spoil: Callable[[Path], None], is_synced: bool
) -> None:
    (number,) = office.send("a")
    if is_synced:
        office.synced(number)
    spoil(office.path("a", number))
    assert office.recover().rewritten == 1
    assert office.is_whole("a", number)
    assert not office.path("a", number).is_symlink()
    assert office.states(number) == [FILED]


def test_a_file_that_its_agent_extended_is_left_as_it_is(office: Office) -> None:
    (number,) = office.send("a")
    edited = office.path("a", number).read_bytes()[:-2] + b',"seen":true}\n'
    office.path("a", number).write_bytes(edited)
    assert office.recover().rewritten == 0
    assert office.path("a", number).read_bytes() == edited


def test_the_file_of_a_read_message_is_removed_and_foreign_files_stay(office: Office) -> None:
    read, unread = office.send("a", "a")
    office.desk.commit(office.desk.reading("a", read))
    strangers = [office.path("a", 77), office.path("a", unread).with_name("note.txt")]
    for one in strangers:
        one.write_text("mine")
    (office.root / "inbox" / "b").mkdir()
    in_another_mailbox = office.path("b", read)
    in_another_mailbox.write_text("a copy")
    assert office.recover().removed == 1
    assert not office.path("a", read).exists()
    assert all(one.exists() for one in [*strangers, in_another_mailbox, office.path("a", unread)])


@pytest.mark.parametrize("what", ["inbox", "inbox/a"])
def test_a_missing_directory_never_means_read(office: Office, what: str) -> None:
    numbers = office.send("a", "a")
    office.synced(numbers[-1])
    shutil.rmtree(office.root / what)
    report = office.recover()
    assert (report.taken, report.rewritten) == ([], 2)
    assert all(office.is_whole("a", number) for number in numbers)


def test_a_file_in_place_of_a_directory_never_means_read(office: Office) -> None:
    *numbers, other = office.send("a", "a", "b")
    office.synced(other)
    directory = office.root / "inbox" / "a"
    directory.rename(office.root / "aside")
    directory.touch()
    report = office.recover()
    assert (report.taken, report.rewritten) == ([], 0)
    assert report.errors.keys() == set(numbers)
    assert office.states(*numbers, other) == [FILED, FILED, FILED]
    assert office.desk.store.files.unfiled() == [("a", number) for number in numbers]
    directory.unlink()
    filing = office.filing()
    for mailbox, number in office.desk.store.files.unfiled():
        filing.retry_later(mailbox, number, 0.0)
    assert filing.retry_due(10.0) == numbers
    filing.close()
    assert all(office.is_whole("a", number) for number in numbers)


def test_a_message_that_was_not_filed_yet_does_not_count_as_read(office: Office) -> None:
    (number,) = office.send("a")
    office.path("a", number).unlink()
    office.desk.store.files.record_unfiled({number: "why"})
    office.synced(number + 5)
    assert office.recover() == RecoveryReport()
    assert office.states(number) == [STORED]


def test_a_file_that_vanishes_after_the_listing_was_taken(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    (number,) = office.send("a")
    office.synced(number)
    real = InboxFiles.read

    def read(files: InboxFiles, mailbox: str, wanted: int) -> bytes | None:
        office.path(mailbox, wanted).unlink()
        return real(files, mailbox, wanted)

    monkeypatch.setattr(InboxFiles, "read", read)
    report = office.recover()
    assert (report.taken, report.rewritten) == ([FilesTaken("a", (number,))], 0)


def test_a_long_mailbox_is_listed_once_and_checked_in_pages(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PAGE", 10)
    numbers = office.send(*["a"] * 45, *["b"] * 3)
    office.synced(numbers[-1])
    for number in numbers[:45:3]:
        office.path("a", number).unlink()
    listed: list[str] = []
    beats: list[int] = []
    real = InboxFiles.list_ids

    def listing(files: InboxFiles, mailbox: str, beat: Callable[[], None]) -> set[int] | None:
        listed.append(mailbox)
        return real(files, mailbox, beat)

    monkeypatch.setattr(InboxFiles, "list_ids", listing)
    report = office.check(lambda: beats.append(1))
    assert (report.checked, report.rewritten) == (48, 0)
    assert [one.mailbox for one in report.taken] == ["a"] * 5, "one for each page"
    assert [number for one in report.taken for number in one.message_ids] == numbers[:45:3]
    assert len(beats) >= 5
    assert listed == ["a", "b", *office.files.mailboxes()]
    office.desk.commit(*map(office.desk.sequenced, report.taken))
    assert office.desk.rows("SELECT total, unread FROM mailboxes WHERE name = 'a'") == [(45, 30)]


def test_millions_of_files_in_one_inbox_do_not_stop_the_heartbeat(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_files, "BEAT_ENTRIES", 10)
    (office.root / "inbox" / "huge").mkdir()
    for number in range(95):
        office.path("huge", number + 1).touch()
    beats: list[int] = []
    office.check(lambda: beats.append(1))
    assert len(beats) >= 9


def full(*_: object) -> None:
    raise StoreFull("no room")


def test_a_full_disk_neither_prevents_the_start_nor_loses_anything(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, kept = office.send("a", "b")
    office.synced(kept)
    office.path("a", taken).unlink()
    shutil.rmtree(office.root / "inbox" / "b")
    (office.root / "inbox" / "b").touch()
    monkeypatch.setattr(FileLedger, "write_queued", full)
    report = office.check()
    assert (report.taken, report.errors.keys()) == ([FilesTaken("a", (taken,))], {kept})
    assert office.desk.store.files.unfiled() == []
    monkeypatch.undo()
    office.synced(kept + 1)
    assert office.desk.store.files.unfiled() == [("b", kept)]
    assert office.states(taken, kept) == [FILED, FILED]
    assert office.recover().taken == [FilesTaken("a", (taken,))]
    assert office.states(taken, kept) == [READ, FILED]


def test_recovery_leaves_no_descriptor_open(office: Office) -> None:
    office.send(*[f"m{number}" for number in range(30)])
    office.recover()
    before = len([*Path("/proc/self/fd").iterdir()])
    office.check()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
