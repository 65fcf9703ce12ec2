"""Inbox files that agents take, on real directories, with a clock that the test moves: no test waits."""

import os
import select
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.reports import DirectoryFault, Report, Taken
from mailroomd.storage.inbox.watch import InboxWatch

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
PROMISED_SEC = 1.0


class Room:
    """A worker with its inbox files, its unread messages, and the time."""

    def __init__(self, root: Path, watched_most: int = 100) -> None:
        self.path = root / "inbox"
        self.now_sec = 1000.0
        self.files = InboxFiles(root)
        self.unread: dict[str, set[int]] = {}
        self.last_id = 0
        self.watch = InboxWatch(root, lambda mailbox: self.unread.get(mailbox, set()), watched_most)
        self.wait(3)

    def deliver(self, mailbox: str, count: int = 1) -> list[int]:
        directory = self.files.ensure_directory(mailbox)
        numbers = list(range(self.last_id + 1, self.last_id + 1 + count))
        self.last_id += count
        for number in numbers:
            self.files.write(directory, number, b"{}")
        self.unread.setdefault(mailbox, set()).update(numbers)
        self.watch.watch_mailbox(mailbox)
        return numbers

    def acknowledge(self, mailbox: str, number: int) -> None:
        self.unread[mailbox].discard(number)
        self.watch.expect_removal(mailbox, number)
        self.files.remove(mailbox, number)

    def path_of(self, mailbox: str, number: int) -> Path:
        return self.path / mailbox / f"{format_id(number)}.json"

    def wait(self, seconds: float) -> list[Report]:
        """Returns what is reported within this time to a worker that sleeps as long as it may."""
        end_sec = self.now_sec + seconds
        reports = self.collect()
        while self.now_sec + self.watch.due_in_sec(self.now_sec) <= end_sec:
            self.now_sec += max(0.001, self.watch.due_in_sec(self.now_sec))
            reports += self.collect()
        self.now_sec = end_sec
        return reports

    def collect(self) -> list[Report]:
        reports = self.watch.collect_reports(self.now_sec)
        for one in reports:
            if isinstance(one, Taken):
                assert not {number for number in one.message_ids if self.path_of(one.mailbox, number).exists()}
                self.unread[one.mailbox].difference_update(one.message_ids)
        return reports

    def file_again(self, mailbox: str) -> None:
        """Files the mail of a lost directory again."""
        self.files.ensure_inbox()
        directory = self.files.ensure_directory(mailbox)
        for number in self.unread[mailbox]:
            self.files.write(directory, number, b"{}")
        self.watch.on_refiled(mailbox)

    def close(self) -> None:
        self.watch.close()
        self.files.close()


def taken(reports: list[Report]) -> dict[str, list[int]]:
    """Returns the ids that were reported; there was no fault."""
    result: dict[str, list[int]] = {}
    for one in reports:
        assert isinstance(one, Taken)
        result.setdefault(one.mailbox, []).extend(one.message_ids)
    return result


def faults(reports: list[Report]) -> list[str]:
    """Returns the mailboxes that were lost; nothing was taken."""
    assert all(isinstance(one, DirectoryFault) for one in reports), reports
    return [one.mailbox for one in reports]


@pytest.fixture(params=["watched", "patrolled", "blind"])
def room(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A room with watches; one with the patrol only; one without inotify at all."""

    def refuse() -> None:
        raise OSError(24, "no inotify instance left")

    monkeypatch.setattr(type(log), "_write", be_silent)
    if request.param == "blind":
        monkeypatch.setattr("mailroomd.storage.directories.watcher.Inotify", refuse)
    made = Room(tmp_path, 0 if request.param == "patrolled" else 100)
    assert (made.watch.fileno() is None) == (request.param == "blind")
    yield made
    made.close()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setattr(type(log), "_write", be_silent)
    made = Room(tmp_path)
    yield made
    made.close()


def be_silent(*_: object) -> None:
    """Logs nothing."""


# -- taken ------------------------------------------------------------------------------------------------------------


def test_a_deleted_file_counts_as_taken_within_a_second(room: Room) -> None:
    first, second = room.deliver("bob", 2)
    assert room.wait(10) == []
    room.path_of("bob", first).unlink()
    assert room.wait(PROMISED_SEC) == [Taken("bob", [first])]
    room.path_of("bob", second).unlink()
    assert room.wait(PROMISED_SEC) == [Taken("bob", [second])]
    assert room.wait(10) == []


def test_a_file_taken_before_its_directory_is_watched_counts(room: Room) -> None:
    (number,) = room.deliver("bob")
    room.path_of("bob", number).unlink()
    assert room.wait(PROMISED_SEC) == [Taken("bob", [number])]


def test_a_file_moved_away_counts_as_taken(room: Room, tmp_path: Path) -> None:
    first, second = room.deliver("bob", 2)
    room.wait(10)
    room.path_of("bob", first).rename(tmp_path / "mine.json")
    room.path_of("bob", second).rename(room.path / "bob/read.json")
    assert taken(room.wait(PROMISED_SEC)) == {"bob": [first, second]}


def test_many_files_deleted_at_once_all_count(room: Room) -> None:
    numbers = {mailbox: room.deliver(mailbox, 300) for mailbox in ("bob", "eve")}
    room.wait(10)
    for path in room.path.glob("*/*.json"):
        path.unlink()
    reports = taken(room.wait(2))
    assert {mailbox: sorted(ids) for mailbox, ids in reports.items()} == numbers


def test_a_file_replaced_by_an_editor_was_not_taken(room: Room, tmp_path: Path) -> None:
    """Some editors save by moving the old file aside and writing a new one."""
    (number,) = room.deliver("bob")
    room.wait(10)
    room.path_of("bob", number).rename(room.path / "bob/backup~")
    room.path_of("bob", number).write_text("{}")
    assert room.wait(10) == []
    room.path_of("bob", number).unlink()
    assert room.wait(PROMISED_SEC) == [Taken("bob", [number])]


def test_files_with_other_names_are_ignored(room: Room) -> None:
    (number,) = room.deliver("bob")
    for name in ("x", "x.json", f"{number:x}.json", f"{format_id(number)}.json.bak", "8" * 16 + ".json", "\udcff.json"):
        (room.path / "bob" / name).touch()
    (room.path / "bob/0000000000000abc.json").mkdir()
    room.wait(10)
    for path in (room.path / "bob").iterdir():
        if path != room.path_of("bob", number):
            path.rmdir() if path.is_dir() else path.unlink()
    assert room.wait(10) == []


def test_files_written_by_the_daemon_cause_no_event(watched: Room) -> None:
    watched.deliver("bob", 5)
    watched.wait(10)
    watched.deliver("bob", 5)
    watched.deliver("new", 5)
    for number in watched.unread["bob"]:
        watched.files.write_durably("bob", number, b"{}")  # over the one that is there
    fileno = watched.watch.fileno()
    assert fileno is not None
    assert select.select([fileno], [], [], 0)[0] == []


def test_files_removed_by_the_daemon_are_not_reported(room: Room) -> None:
    numbers = room.deliver("bob", 5)
    room.acknowledge("bob", numbers[0])
    room.wait(10)
    for number in numbers[1:3]:
        room.acknowledge("bob", number)
    assert room.wait(10) == []
    room.path_of("bob", numbers[3]).unlink()
    room.collect()
    room.acknowledge("bob", numbers[3])  # while its deletion is held
    assert room.wait(10) == []


def test_taking_mail_one_by_one_is_reported_without_delay(room: Room) -> None:
    numbers = room.deliver("bob", 40)
    room.wait(10)
    for position, number in enumerate(numbers):
        room.path_of("bob", number).unlink()
        room.wait(0.09)
        assert not room.unread["bob"] & set(numbers[: max(0, position - 11)])  # older than a second


def test_changes_in_unwatched_directories_are_found(tmp_path: Path) -> None:
    room = Room(tmp_path, watched_most=2)
    for name in "abcdef":
        room.deliver(name, 2)
    room.wait(20)
    for name in "abcdef":
        (number, _) = sorted(room.unread[name])
        room.path_of(name, number).unlink()
        assert room.wait(PROMISED_SEC) == [Taken(name, [number])]
    for name in "abcdef":
        (number,) = room.unread[name]
        room.path_of(name, number).unlink()
    assert len(taken(room.wait(PROMISED_SEC))) == 6
    room.close()


def test_a_held_deletion_survives_the_eviction_of_its_watch(tmp_path: Path) -> None:
    room = Room(tmp_path, watched_most=1)
    (number,) = room.deliver("bob")
    room.wait(10)
    room.path_of("bob", number).unlink()
    for name in "cdefg":
        room.deliver(name)
    assert taken(room.wait(PROMISED_SEC)) == {"bob": [number]}
    room.close()


def test_a_deletion_just_before_the_eviction_of_its_watch_counts(tmp_path: Path) -> None:
    room = Room(tmp_path, watched_most=2)
    room.deliver("first")
    room.wait(1)
    (number,) = room.deliver("second")
    room.wait(10)
    room.deliver("c")
    room.deliver("d")  # which is the first to be watched, in the place of `first`
    room.unread = Meddler(room.unread, "d", room.path_of("second", number).unlink)
    assert taken(room.wait(PROMISED_SEC)) == {"second": [number]}
    room.close()


class Meddler(dict[str, set[int]]):
    """Makes something happen in the middle of `collect_reports`: when it first asks for one mailbox's ids."""

    def __init__(self, unread: dict[str, set[int]], mailbox: str, happen: Callable[[], None]) -> None:
        super().__init__(unread)
        self._happen = {mailbox: happen}

    def get(self, mailbox: str, default: set[int]) -> set[int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._happen.pop(mailbox, bool)()
        return super().get(mailbox, default)


def test_a_directory_to_be_compared_after_an_overflow_is_not_evicted_before(tmp_path: Path) -> None:
    room = Room(tmp_path, watched_most=2)
    numbers = {name: room.deliver(name)[0] for name in "ab"}
    room.wait(10)
    flood(room.path / "b")
    for name in "ab":
        room.path_of(name, numbers[name]).unlink()
    for name in "cde":
        room.deliver(name)
    assert taken(room.wait(PROMISED_SEC)) == {name: [numbers[name]] for name in "ab"}
    room.close()


def test_files_removed_by_the_daemon_during_a_comparison_are_not_reported(tmp_path: Path) -> None:
    room = Room(tmp_path)
    numbers = room.deliver("bob", 700)
    room.now_sec += 0.6
    assert room.collect() == []  # the first slice
    for number in numbers[::7]:
        room.acknowledge("bob", number)
    assert room.wait(10) == []
    room.close()


def test_after_an_overflow_the_directories_are_compared(watched: Room) -> None:
    numbers = watched.deliver("bob", 2)
    watched.deliver("lost")
    watched.wait(10)
    flood(watched.path / "bob")
    watched.path_of("bob", numbers[0]).unlink()  # its event is lost
    shutil.rmtree(watched.path / "lost")
    (watched.path / "lost").mkdir()
    reports = watched.wait(PROMISED_SEC)
    assert [one for one in reports if isinstance(one, Taken)] == [Taken("bob", [numbers[0]])]
    assert faults([one for one in reports if not isinstance(one, Taken)]) == ["lost"]


def flood(directory: Path) -> None:
    """Causes more events than the kernel's queue holds, all of them irrelevant."""
    handle = os.open(directory, os.O_RDONLY)
    os.close(os.open("a", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
    names = ["a", "b"]
    for _ in range(QUEUE + 2):
        os.rename(names[0], names[1], src_dir_fd=handle, dst_dir_fd=handle)
        names.reverse()
    os.close(handle)


def test_a_directory_of_many_files_is_compared_in_slices(tmp_path: Path) -> None:
    room = Room(tmp_path)
    first, *_ = room.deliver("bob", 700)
    room.path_of("bob", first).unlink()
    assert room.collect() == []
    room.now_sec += 0.6
    assert room.collect() == []
    assert 0 < room.watch.due_in_sec(room.now_sec) <= 0.05  # there is more to compare
    assert room.wait(PROMISED_SEC) == [Taken("bob", [first])]
    room.close()


# -- never taken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 15, 300])
def test_a_directory_that_is_deleted_with_its_files_is_a_fault(room: Room, count: int) -> None:
    room.deliver("bob", count)
    room.wait(10)
    shutil.rmtree(room.path / "bob")
    assert faults(room.wait(10)) == ["bob"]
    assert len(room.unread["bob"]) == count
    room.file_again("bob")
    assert room.wait(10) == []
    number = min(room.unread["bob"])
    room.path_of("bob", number).unlink()
    assert room.wait(PROMISED_SEC + 0.5) == [Taken("bob", [number])]


def test_a_directory_that_is_deleted_slowly_is_a_fault(room: Room) -> None:
    numbers = room.deliver("bob", 200)
    room.wait(10)
    for number in numbers:
        room.path_of("bob", number).unlink()
        assert room.wait(0.015) == []  # 3 s in all: a slow disk
    (room.path / "bob").rmdir()
    assert faults(room.wait(10)) == ["bob"]


def test_a_directory_that_is_deleted_and_made_again_is_a_fault(room: Room) -> None:
    room.deliver("bob", 3)
    room.wait(10)
    shutil.rmtree(room.path / "bob")
    (room.path / "bob").mkdir()  # most filesystems give it the same inode number
    assert faults(room.wait(10)) == ["bob"]


def test_mail_that_comes_after_the_directory_was_deleted_hides_nothing(room: Room) -> None:
    room.deliver("bob", 3)
    room.wait(10)
    shutil.rmtree(room.path / "bob")
    room.deliver("bob")
    assert faults(room.wait(10)) == ["bob"]
    assert len(room.unread["bob"]) == 4


def test_a_directory_that_was_moved_away_or_swapped_is_a_fault(room: Room, tmp_path: Path) -> None:
    for name in ("moved", "swapped", "renamed", "target"):
        room.deliver(name, 2)
    room.wait(10)
    (room.path / "moved").rename(tmp_path / "moved")
    (tmp_path / "other").mkdir()
    (room.path / "swapped").rename(tmp_path / "swapped")
    (tmp_path / "other").rename(room.path / "swapped")
    shutil.rmtree(room.path / "target")
    (room.path / "renamed").rename(room.path / "target")
    assert set(faults(room.wait(10))) == {"moved", "swapped", "renamed", "target"}


@pytest.mark.parametrize("what", ["file", "link", "loop"])
def test_something_else_in_the_place_of_a_directory_is_a_fault(room: Room, tmp_path: Path, what: str) -> None:
    room.deliver("bob", 2)
    room.wait(10)
    (room.path / "bob").rename(tmp_path / "bob")
    if what == "file":
        (room.path / "bob").touch()
    else:
        (room.path / "bob").symlink_to(tmp_path / "bob" if what == "link" else "bob")
    for path in (tmp_path / "bob").iterdir():
        path.unlink()
    assert faults(room.wait(10)) == ["bob"]


def test_a_directory_that_cannot_be_read_is_a_fault(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = room.deliver("bob", 2)
    room.wait(10)
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "bob":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patch:  # as root, permissions would not stop us
        patch.setattr(os, "open", refuse)
        room.path_of("bob", numbers[0]).unlink()
        (fault,) = room.wait(10)
    assert fault == DirectoryFault("bob", "its directory cannot be read: Permission denied")
    room.file_again("bob")
    assert room.wait(10) == []


def test_an_inbox_that_is_replaced_loses_every_mailbox(room: Room, tmp_path: Path) -> None:
    for name in "abc":
        room.deliver(name)
    room.wait(10)
    room.path.rename(tmp_path / "old")
    assert sorted(faults(room.wait(10))) == ["a", "b", "c"]
    for name in "abc":
        room.file_again(name)
    assert room.wait(10) == []
    (number,) = room.unread["a"]
    room.path_of("a", number).unlink()
    assert room.wait(PROMISED_SEC + 0.5) == [Taken("a", [number])]
    shutil.rmtree(room.path)
    assert set(faults(room.wait(10))) == {"b", "c"}


def test_an_inbox_that_was_away_for_a_while_is_noticed_when_it_is_replaced_later(room: Room, tmp_path: Path) -> None:
    room.deliver("bob")
    room.wait(10)
    room.path.rename(tmp_path / "away")
    assert faults(room.wait(10)) == ["bob"]
    (tmp_path / "away").rename(room.path)
    room.file_again("bob")
    assert room.wait(10) == []
    room.path.rename(tmp_path / "old")
    room.path.mkdir()
    assert faults(room.wait(10)) == ["bob"]


def test_nothing_counts_as_taken_until_a_lost_mailbox_is_filed_again(room: Room) -> None:
    numbers = room.deliver("bob", 3)
    room.wait(10)
    shutil.rmtree(room.path / "bob")
    assert faults(room.wait(10)) == ["bob"]
    numbers += room.deliver("bob")
    room.wait(10)
    room.path_of("bob", numbers[-1]).unlink()
    assert room.wait(10) == []
    shutil.rmtree(room.path / "bob")
    if room.watch.fileno() is not None:
        assert faults(room.wait(10)) == ["bob"]  # what was filed again meanwhile is lost again
    room.file_again("bob")
    assert room.wait(10) == []
    assert len(room.unread["bob"]) == 4


def test_removing_the_directory_of_an_empty_mailbox_is_no_fault(room: Room) -> None:
    (number,) = room.deliver("bob")
    room.acknowledge("bob", number)
    (room.path / "stranger").mkdir()
    room.wait(10)
    shutil.rmtree(room.path / "bob")
    (room.path / "stranger").rmdir()
    assert room.wait(10) == []
    (number,) = room.deliver("bob")
    room.wait(10)
    room.path_of("bob", number).unlink()
    assert room.wait(PROMISED_SEC) == [Taken("bob", [number])]


def test_files_from_before_the_start_are_watched(tmp_path: Path) -> None:
    files = InboxFiles(tmp_path)
    files.write(files.ensure_directory("bob"), 7, b"{}")
    files.write(files.ensure_directory("eve"), 8, b"{}")
    files.close()
    room = Room(tmp_path)
    room.unread = {"bob": {7}, "eve": {8}}
    assert room.wait(10) == []
    room.path_of("bob", 7).unlink()
    shutil.rmtree(room.path / "eve")
    reports = room.wait(PROMISED_SEC)
    assert sorted(reports, key=str) == [DirectoryFault("eve", "its directory is gone"), Taken("bob", [7])]
    room.close()


mailboxes = st.sampled_from("abc")
steps = st.one_of(
    st.tuples(st.sampled_from(["deliver", "take", "acknowledge"]), mailboxes, st.integers(1, 30)),
    st.tuples(st.sampled_from(["delete", "replace", "swap"]), mailboxes, st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from([0, 0.05, 0.2, 1, 3])),
)


@given(steps=st.lists(steps, max_size=25), watched_most=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_only_taken_files_count_and_the_files_end_up_as_the_unread_messages(
    steps: list[tuple[str, str, float]], watched_most: int
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(log), "_write", be_silent)
        room = Room(Path(directory), watched_most)
        gone: set[int] = set()  # taken by agents
        for step, mailbox, number in [*steps, ("wait", "", 5.0), ("wait", "", 5.0)]:
            path = room.path / mailbox
            there = sorted(path.glob("*.json"))[: int(number)] if mailbox else []
            if step == "deliver":
                room.deliver(mailbox, int(number))
            elif step == "take":
                for one in there:
                    gone.add(int(one.stem, 16))
                    one.unlink()
            elif step == "acknowledge":
                for one in there:
                    room.acknowledge(mailbox, int(one.stem, 16))
            elif step == "delete":
                shutil.rmtree(path, ignore_errors=True)
            elif step == "replace":
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
            elif step == "swap" and path.exists():
                path.rename(room.path.with_name(f"old-{len(list(Path(directory).iterdir()))}"))
            else:
                for report in room.wait(number):
                    if isinstance(report, Taken):
                        assert set(report.message_ids) <= gone
                    else:
                        gone -= room.unread[report.mailbox]  # delivered once more
                        room.file_again(report.mailbox)
        for mailbox, unread in room.unread.items():
            assert (room.files.list_ids(mailbox) or set()) == unread
        room.close()
