"""Filing writes the files of a commit, and retries those that it could not write."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.core.backoff import backoff_sec
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import FilesTaken, MailFiled
from mailroomd.protocol.packets import NoteSeen
from mailroomd.storage.inbox import files as inbox_files
from mailroomd.storage.inbox import filing
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from support.harness.storing import NOW_MS, Desk, draft


class Office:
    """A store, its files, and a clock that only moves when told."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        (place / "state").mkdir()
        self.desk = Desk(place / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.desk.store.files)
        self.now_sec = 100.0

    def send(self, *names: str) -> tuple[list[int], dict[int, str]]:
        mail = self.desk.result(*[self.desk.message(draft(name)) for name in names]).mail
        errors = self.filing.file_mail(mail, self.now_sec)
        if errors:
            self.desk.store.files.record_unfiled(errors)
        return [one.id for one in mail], errors

    def retry(self) -> list[int]:
        filed = self.filing.retry_due(self.now_sec)
        self.desk.commit(self.desk.sequenced(MailFiled(tuple(filed))))
        return filed

    def path_of(self, name: str) -> Path:
        return self.root / "inbox" / name

    def ids_in(self, name: str) -> list[int]:
        return sorted(self.files.list_ids(name) or ())

    def state(self, number: int) -> DeliveryState:
        message = self.desk.store.files.message(number)
        assert message is not None
        return message.state


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.filing.close()
    made.files.close()
    made.desk.store.close()


def test_every_file_of_a_commit_lands_in_its_own_mailbox(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles are closed and their numbers used again within one batch."""
    monkeypatch.setattr(inbox_files, "OPEN_DIRECTORIES", 4)
    names = [f"m{number}" for number in range(20)]
    numbers, errors = office.send(*names, *names)
    assert errors == {}
    for index, name in enumerate(names):
        assert office.ids_in(name) == [numbers[index], numbers[index + 20]]
        for number in office.ids_in(name):
            assert f'"session_id":"{name}"'.encode() in (office.files.read(name, number) or b"")


def test_a_broken_directory_affects_only_its_mailbox_and_its_reason_is_reported(office: Office) -> None:
    office.path_of("broken").touch()
    (bad, good, worse), errors = office.send("broken", "good", "broken")
    assert errors.keys() == {bad, worse}
    assert "Not a directory" in errors[bad]
    assert "broken" in errors[bad]
    assert "will be retried" in errors[bad]
    assert office.ids_in("good") == [good]
    assert [office.state(number) for number in (bad, good)] == [DeliveryState.STORED, DeliveryState.FILED]
    assert office.filing.unfiled == 2


def test_mail_is_filed_once_a_broken_inbox_is_repaired(office: Office) -> None:
    inbox = office.root / "inbox"
    inbox.rename(office.root / "aside")
    inbox.touch()
    numbers, errors = office.send("a", "b")
    assert errors.keys() == set(numbers)
    inbox.unlink()
    office.now_sec += 60
    assert sorted(office.retry()) == numbers
    assert office.ids_in("a") + office.ids_in("b") == numbers
    assert office.filing.unfiled == 0
    assert office.filing.next_retry_sec is None


def test_retries_back_off_until_the_message_is_filed(office: Office) -> None:
    office.path_of("a").touch()
    (number,), _ = office.send("a")
    waited: list[float] = []
    for _ in range(9):
        due = office.filing.next_retry_sec
        assert due is not None
        waited.append(due - office.now_sec)
        office.now_sec = due - 0.01
        assert office.retry() == []
        assert office.filing.next_retry_sec == due, "not before its time"
        office.now_sec = due
        assert office.retry() == []
    assert waited == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    assert office.state(number) is DeliveryState.STORED
    office.path_of("a").unlink()
    office.now_sec += 30
    assert office.retry() == [number]
    assert office.state(number) is DeliveryState.FILED
    assert office.desk.store.files.unfiled() == []
    assert office.ids_in("a") == [number]


def test_new_mail_is_filed_while_older_mail_still_waits(office: Office) -> None:
    office.path_of("a").touch()
    (old,), _ = office.send("a")
    office.path_of("a").unlink()
    (new,), errors = office.send("a")
    assert errors == {}
    assert office.ids_in("a") == [new]
    office.now_sec += 1
    assert office.retry() == [old]
    assert office.ids_in("a") == [old, new]


def test_a_message_that_was_read_meanwhile_gets_no_file(office: Office) -> None:
    office.path_of("a").touch()
    numbers, _ = office.send("a", "a", "a")
    office.path_of("a").unlink()
    office.desk.commit(office.desk.reading("a", *numbers[:2]))
    office.filing.remove_files("a", numbers[:1])
    assert office.filing.unfiled == 2
    office.now_sec += 60
    assert office.retry() == numbers[1:]
    assert office.ids_in("a") == numbers[2:]
    assert [office.state(number) for number in numbers] == [DeliveryState.READ] * 2 + [DeliveryState.FILED]


def test_acknowledged_mail_stops_waiting_even_if_its_directory_is_broken(office: Office) -> None:
    office.path_of("a").touch()
    numbers, _ = office.send("a", "a")
    office.filing.remove_files("a", numbers)
    assert office.filing.unfiled == 0
    office.now_sec += 60
    assert office.retry() == []
    assert office.filing.next_retry_sec is None


def test_a_long_list_is_retried_in_slices(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    slice_size = 20
    monkeypatch.setattr(filing, "RETRY_SLICE", slice_size)
    office.path_of("a").touch()
    numbers, _ = office.send(*["a"] * (slice_size + 5))
    office.path_of("a").unlink()
    office.now_sec += 60
    assert office.retry() == numbers[:slice_size]
    assert office.filing.next_retry_sec == office.now_sec, "the rest is due at once"
    assert office.retry() == numbers[slice_size:]


def test_files_of_read_messages_are_removed(office: Office) -> None:
    numbers, _ = office.send("a", "a", "a")
    office.filing.remove_files("a", numbers[:2])
    assert office.ids_in("a") == numbers[2:]
    office.filing.remove_files("nobody", [1, 2])


def test_a_file_that_could_not_be_removed_is_retried_until_it_is_gone(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    numbers, _ = office.send("a", "a", "a")
    with monkeypatch.context() as patch:
        patch.setattr(office.files, "remove", refuse)
        assert office.filing.remove_files("a", numbers[:2]) == []
        assert office.retry() == []
        assert office.filing.next_retry_sec == office.now_sec + backoff_sec(1)
    assert office.ids_in("a") == numbers
    office.now_sec += backoff_sec(1)
    assert office.retry() == []
    assert office.ids_in("a") == numbers[2:]
    assert office.filing.next_retry_sec is None


def aged(path: Path) -> Path:
    """Returns a directory in which nothing has happened for a long time."""
    os.utime(path, (1000, 1000))
    return path


def test_empty_directories_of_forgotten_mailboxes_are_removed(office: Office) -> None:
    names = ["forgotten", "recent", "known", "occupied", "unread"]
    numbers, _ = office.send(*names)
    office.filing.collect_taken(office.now_sec)
    for name, number in list(zip(names, numbers, strict=True))[:4]:
        office.desk.commit(office.desk.reading(name, number))
        office.filing.remove_files(name, [number])
    office.desk.commit(NoteSeen("known", NOW_MS))
    (office.path_of("occupied") / "note.txt").touch()
    office.desk.rows("DELETE FROM mailboxes WHERE name IN ('forgotten', 'recent', 'occupied')")
    for name in ("forgotten", "known", "occupied", "unread"):
        aged(office.path_of(name))
    office.path_of("made-up").mkdir()
    aged(office.path_of("made-up"))
    office.path_of("link").symlink_to(office.path_of("recent"))
    office.filing.remove_empty_directories(office.now_sec, 3600)
    left = sorted(path.name for path in office.path_of("").iterdir())
    assert left == [".tmp", "known", "link", "occupied", "recent", "unread"]


def test_a_directory_that_nobody_ever_used_is_removed_after_an_hour(office: Office) -> None:
    names = ["unused", "recent", "unread", "seen", "taken", "replaced"]
    office.path_of("own").mkdir()
    numbers = dict(zip([*names, "own"], office.send(*names, "own")[0], strict=True))
    office.filing.collect_taken(office.now_sec)
    office.desk.commit(NoteSeen("seen", NOW_MS))
    for name in ("unused", "recent", "seen", "replaced", "own"):
        office.desk.commit(office.desk.reading(name, numbers[name]))
        if name != "replaced":
            office.filing.remove_files(name, [numbers[name]])
    (office.path_of("taken") / f"{numbers['taken']:016x}.json").unlink()
    office.path_of("replaced").rename(office.root / "elsewhere")
    office.path_of("replaced").mkdir()
    taken: list[FilesTaken] = []
    for _ in range(20):
        office.now_sec += 0.2
        taken += office.filing.collect_taken(office.now_sec)
    assert taken == [FilesTaken("taken", (numbers["taken"],))]
    office.desk.commit(office.desk.reading("taken", numbers["taken"]))
    office.filing.on_committed(taken[0])
    for name in (*names, "own"):
        quiet_since_sec = time.time() - (3500 if name == "recent" else 3700)
        os.utime(office.path_of(name), (quiet_since_sec, quiet_since_sec))
    office.filing.remove_empty_directories(office.now_sec, 30 * 86_400)
    left = {path.name for path in office.path_of("").iterdir()}
    assert left == {".tmp", "own", *names} - {"unused"}


def test_a_directory_that_was_removed_is_made_again_by_the_next_delivery(office: Office) -> None:
    (first,), _ = office.send("a")
    office.filing.collect_taken(office.now_sec)
    office.desk.commit(office.desk.reading("a", first))
    office.filing.remove_files("a", [first])
    office.desk.rows("DELETE FROM mailboxes")
    aged(office.path_of("a"))
    office.filing.remove_empty_directories(office.now_sec, 3600)
    assert not office.path_of("a").exists()
    (second,), errors = office.send("a")
    assert errors == {}
    assert office.ids_in("a") == [second]
    for _ in range(20):
        office.now_sec += 0.2
        assert office.filing.collect_taken(office.now_sec) == []
    assert office.filing.unfiled == 0, "no directory counts as lost"
    (office.path_of("a") / f"{second:016x}.json").unlink()
    office.now_sec += 0.2
    office.filing.collect_taken(office.now_sec)
    office.now_sec += 1
    assert office.filing.collect_taken(office.now_sec) == [FilesTaken("a", (second,))]


def test_the_directory_of_a_mailbox_with_a_file_to_be_retried_stays(office: Office) -> None:
    office.path_of("a").touch()
    office.send("a")
    office.path_of("a").unlink()
    office.path_of("a").mkdir()
    office.desk.rows("DELETE FROM mailboxes")
    aged(office.path_of("a"))
    office.filing.remove_empty_directories(office.now_sec, 3600)
    assert office.path_of("a").exists()


def test_backoff_doubles_from_half_a_second_to_half_a_minute() -> None:
    assert [backoff_sec(attempt) for attempt in (1, 2, 3, 6, 7, 8, 10_000)] == [0.5, 1, 2, 16, 30, 30, 30]
