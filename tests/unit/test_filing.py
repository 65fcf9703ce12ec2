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
from support.harness.storing import NOW_MS, StoreHarness, draft


class FilingSetup:
    """A store, its files, and a clock that only moves when told."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        (place / "state").mkdir()
        self.harness = StoreHarness(place / "state")
        self.files = InboxFiles(self.root)
        self.beats = 0
        self.filing = Filing(self.root, self.files, self.harness.store.files, self.beat)
        self.now_sec = 100.0

    def beat(self) -> None:
        self.beats += 1

    def send(self, *names: str) -> tuple[list[int], dict[int, str]]:
        mail = self.harness.result(*[self.harness.message(draft(name)) for name in names]).mail
        errors = self.filing.file_mail(mail, self.now_sec)
        if errors:
            self.harness.store.files.record_unfiled(errors)
        return [one.id for one in mail], errors

    def retry(self) -> list[int]:
        filed = self.filing.retry_due(self.now_sec)
        self.harness.commit(self.harness.sequenced(MailFiled(tuple(filed))))
        return filed

    def path_of(self, name: str) -> Path:
        return self.root / "inbox" / name

    def ids_in(self, name: str) -> list[int]:
        return sorted(self.files.list_ids(name) or ())

    def state(self, number: int) -> DeliveryState:
        message = self.harness.store.files.message(number)
        assert message is not None
        return message.state


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[FilingSetup]:
    made = FilingSetup(tmp_path)
    yield made
    made.filing.close()
    made.files.close()
    made.harness.store.close()


def test_every_file_of_a_commit_lands_in_its_own_mailbox(setup: FilingSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles are closed and their numbers used again within one batch."""
    monkeypatch.setattr(inbox_files, "OPEN_DIRECTORIES", 4)
    names = [f"m{number}" for number in range(20)]
    numbers, errors = setup.send(*names, *names)
    assert errors == {}
    for index, name in enumerate(names):
        assert setup.ids_in(name) == [numbers[index], numbers[index + 20]]
        for number in setup.ids_in(name):
            assert f'"session_id":"{name}"'.encode() in (setup.files.read(name, number) or b"")


def test_a_broken_directory_affects_only_its_mailbox_and_its_reason_is_reported(setup: FilingSetup) -> None:
    setup.path_of("broken").touch()
    (bad, good, worse), errors = setup.send("broken", "good", "broken")
    assert errors.keys() == {bad, worse}
    assert "Not a directory" in errors[bad]
    assert "broken" in errors[bad]
    assert "will be retried" in errors[bad]
    assert setup.ids_in("good") == [good]
    assert [setup.state(number) for number in (bad, good)] == [DeliveryState.STORED, DeliveryState.FILED]
    assert setup.filing.unfiled == 2


def test_mail_is_filed_once_a_broken_inbox_is_repaired(setup: FilingSetup) -> None:
    inbox = setup.root / "inbox"
    inbox.rename(setup.root / "aside")
    inbox.touch()
    numbers, errors = setup.send("a", "b")
    assert errors.keys() == set(numbers)
    inbox.unlink()
    setup.now_sec += 60
    assert sorted(setup.retry()) == numbers
    assert setup.ids_in("a") + setup.ids_in("b") == numbers
    assert setup.filing.unfiled == 0
    assert setup.filing.next_retry_sec is None


def test_retries_back_off_until_the_message_is_filed(setup: FilingSetup) -> None:
    setup.path_of("a").touch()
    (number,), _ = setup.send("a")
    waited: list[float] = []
    for _ in range(9):
        due = setup.filing.next_retry_sec
        assert due is not None
        waited.append(due - setup.now_sec)
        setup.now_sec = due - 0.01
        assert setup.retry() == []
        assert setup.filing.next_retry_sec == due, "not before its time"
        setup.now_sec = due
        assert setup.retry() == []
    assert waited == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    assert setup.state(number) is DeliveryState.STORED
    setup.path_of("a").unlink()
    setup.now_sec += 30
    assert setup.retry() == [number]
    assert setup.state(number) is DeliveryState.FILED
    assert setup.harness.store.files.unfiled() == []
    assert setup.ids_in("a") == [number]


def test_new_mail_is_filed_while_older_mail_still_waits(setup: FilingSetup) -> None:
    setup.path_of("a").touch()
    (old,), _ = setup.send("a")
    setup.path_of("a").unlink()
    (new,), errors = setup.send("a")
    assert errors == {}
    assert setup.ids_in("a") == [new]
    setup.now_sec += 1
    assert setup.retry() == [old]
    assert setup.ids_in("a") == [old, new]


def test_a_message_that_was_read_meanwhile_gets_no_file(setup: FilingSetup) -> None:
    setup.path_of("a").touch()
    numbers, _ = setup.send("a", "a", "a")
    setup.path_of("a").unlink()
    setup.harness.commit(setup.harness.reading("a", *numbers[:2]))
    setup.filing.remove_files("a", numbers[:1])
    assert setup.filing.unfiled == 2
    setup.now_sec += 60
    assert setup.retry() == numbers[1:]
    assert setup.ids_in("a") == numbers[2:]
    assert [setup.state(number) for number in numbers] == [DeliveryState.READ] * 2 + [DeliveryState.FILED]


def test_acknowledged_mail_stops_waiting_even_if_its_directory_is_broken(setup: FilingSetup) -> None:
    setup.path_of("a").touch()
    numbers, _ = setup.send("a", "a")
    setup.filing.remove_files("a", numbers)
    assert setup.filing.unfiled == 0
    setup.now_sec += 60
    assert setup.retry() == []
    assert setup.filing.next_retry_sec is None


def test_a_long_list_is_retried_in_slices(setup: FilingSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    slice_size = 20
    monkeypatch.setattr(filing, "RETRY_SLICE", slice_size)
    setup.path_of("a").touch()
    numbers, _ = setup.send(*["a"] * (slice_size + 5))
    setup.path_of("a").unlink()
    setup.now_sec += 60
    assert setup.retry() == numbers[:slice_size]
    assert setup.filing.next_retry_sec == setup.now_sec, "the rest is due at once"
    assert setup.retry() == numbers[slice_size:]


def test_a_slice_is_one_for_all_mailboxes_with_a_heartbeat_for_each_file(
    setup: FilingSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "RETRY_SLICE", 8)
    names = ("a", "b", "c")
    for name in names:
        setup.path_of(name).touch()
    numbers, _ = setup.send(*[name for name in names for _ in range(5)])
    for name in names:
        setup.path_of(name).unlink()
    setup.now_sec += 60
    setup.beats = 0
    assert setup.retry() == numbers[:8]
    assert setup.beats == 8
    assert setup.retry() == numbers[8:]


def test_files_of_read_messages_are_removed(setup: FilingSetup) -> None:
    numbers, _ = setup.send("a", "a", "a")
    setup.filing.remove_files("a", numbers[:2])
    assert setup.ids_in("a") == numbers[2:]
    setup.filing.remove_files("nobody", [1, 2])


def test_a_file_that_could_not_be_removed_is_retried_until_it_is_gone(
    setup: FilingSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    numbers, _ = setup.send("a", "a", "a")
    with monkeypatch.context() as patch:
        patch.setattr(setup.files, "remove", refuse)
        assert setup.filing.remove_files("a", numbers[:2]) == []
        assert setup.retry() == []
        assert setup.filing.next_retry_sec == setup.now_sec + backoff_sec(1)
    assert setup.ids_in("a") == numbers
    setup.now_sec += backoff_sec(1)
    assert setup.retry() == []
    assert setup.ids_in("a") == numbers[2:]
    assert setup.filing.next_retry_sec is None


def aged(path: Path) -> Path:
    """Returns a directory in which nothing has happened for a long time."""
    os.utime(path, (1000, 1000))
    return path


def test_empty_directories_of_forgotten_mailboxes_are_removed(setup: FilingSetup) -> None:
    names = ["forgotten", "recent", "known", "occupied", "unread"]
    numbers, _ = setup.send(*names)
    setup.filing.collect_taken(setup.now_sec)
    for name, number in list(zip(names, numbers, strict=True))[:4]:
        setup.harness.commit(setup.harness.reading(name, number))
        setup.filing.remove_files(name, [number])
    setup.harness.commit(NoteSeen("known", NOW_MS))
    (setup.path_of("occupied") / "note.txt").touch()
    setup.harness.rows("DELETE FROM mailboxes WHERE name IN ('forgotten', 'recent', 'occupied')")
    for name in ("forgotten", "known", "occupied", "unread"):
        aged(setup.path_of(name))
    setup.path_of("made-up").mkdir()
    aged(setup.path_of("made-up"))
    setup.path_of("link").symlink_to(setup.path_of("recent"))
    setup.filing.remove_empty_directories(setup.now_sec, 3600)
    left = sorted(path.name for path in setup.path_of("").iterdir())
    assert left == [".tmp", "known", "link", "occupied", "recent", "unread"]


def test_a_directory_that_nobody_ever_used_is_removed_after_an_hour(setup: FilingSetup) -> None:
    names = ["unused", "recent", "unread", "seen", "taken", "replaced"]
    setup.path_of("own").mkdir()
    numbers = dict(zip([*names, "own"], setup.send(*names, "own")[0], strict=True))
    setup.filing.collect_taken(setup.now_sec)
    setup.harness.commit(NoteSeen("seen", NOW_MS))
    for name in ("unused", "recent", "seen", "replaced", "own"):
        setup.harness.commit(setup.harness.reading(name, numbers[name]))
        if name != "replaced":
            setup.filing.remove_files(name, [numbers[name]])
    (setup.path_of("taken") / f"{numbers['taken']:016x}.json").unlink()
    setup.path_of("replaced").rename(setup.root / "elsewhere")
    setup.path_of("replaced").mkdir()
    taken: list[FilesTaken] = []
    for _ in range(20):
        setup.now_sec += 0.2
        taken += setup.filing.collect_taken(setup.now_sec)
    assert taken == [FilesTaken("taken", (numbers["taken"],))]
    setup.harness.commit(setup.harness.reading("taken", numbers["taken"]))
    setup.filing.on_committed(taken[0])
    for name in (*names, "own"):
        quiet_since_sec = time.time() - (3500 if name == "recent" else 3700)
        os.utime(setup.path_of(name), (quiet_since_sec, quiet_since_sec))
    setup.filing.remove_empty_directories(setup.now_sec, 30 * 86_400)
    left = {path.name for path in setup.path_of("").iterdir()}
    assert left == {".tmp", "own", *names} - {"unused"}


def test_a_directory_that_was_removed_is_made_again_by_the_next_delivery(setup: FilingSetup) -> None:
    (first,), _ = setup.send("a")
    setup.filing.collect_taken(setup.now_sec)
    setup.harness.commit(setup.harness.reading("a", first))
    setup.filing.remove_files("a", [first])
    setup.harness.rows("DELETE FROM mailboxes")
    aged(setup.path_of("a"))
    setup.filing.remove_empty_directories(setup.now_sec, 3600)
    assert not setup.path_of("a").exists()
    (second,), errors = setup.send("a")
    assert errors == {}
    assert setup.ids_in("a") == [second]
    for _ in range(20):
        setup.now_sec += 0.2
        assert setup.filing.collect_taken(setup.now_sec) == []
    assert setup.filing.unfiled == 0, "no directory counts as lost"
    (setup.path_of("a") / f"{second:016x}.json").unlink()
    setup.now_sec += 0.2
    setup.filing.collect_taken(setup.now_sec)
    setup.now_sec += 1
    assert setup.filing.collect_taken(setup.now_sec) == [FilesTaken("a", (second,))]


def test_the_directory_of_a_mailbox_with_a_file_to_be_retried_stays(setup: FilingSetup) -> None:
    setup.path_of("a").touch()
    setup.send("a")
    setup.path_of("a").unlink()
    setup.path_of("a").mkdir()
    setup.harness.rows("DELETE FROM mailboxes")
    aged(setup.path_of("a"))
    setup.filing.remove_empty_directories(setup.now_sec, 3600)
    assert setup.path_of("a").exists()


def test_backoff_doubles_from_half_a_second_to_half_a_minute() -> None:
    assert [backoff_sec(attempt) for attempt in (1, 2, 3, 6, 7, 8, 10_000)] == [0.5, 1, 2, 16, 30, 30, 30]
