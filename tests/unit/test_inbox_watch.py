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


class Worker:
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
def worker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker with watches; one with the patrol only; one without inotify at all."""

    def refuse() -> None:
        raise OSError(24, "no inotify instance left")

    monkeypatch.setattr(type(log), "_write", be_silent)
    if request.param == "blind":
        monkeypatch.setattr("mailroomd.storage.directories.watcher.Inotify", refuse)
    made = Worker(tmp_path, 0 if request.param == "patrolled" else 100)
    assert (made.watch.fileno() is None) == (request.param == "blind")
    yield made
    made.close()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(type(log), "_write", be_silent)
    made = Worker(tmp_path)
    yield made
    made.close()


def be_silent(*_: object) -> None:
    """Logs nothing."""


# -- taken ------------------------------------------------------------------------------------------------------------


def test_a_deleted_file_counts_as_taken_within_a_second(worker: Worker) -> None:
    first, second = worker.deliver("bob", 2)
    assert worker.wait(10) == []
    worker.path_of("bob", first).unlink()
    assert worker.wait(PROMISED_SEC) == [Taken("bob", [first])]
    worker.path_of("bob", second).unlink()
    assert worker.wait(PROMISED_SEC) == [Taken("bob", [second])]
    assert worker.wait(10) == []


def test_a_file_taken_before_its_directory_is_watched_counts(worker: Worker) -> None:
    (number,) = worker.deliver("bob")
    worker.path_of("bob", number).unlink()
    assert worker.wait(PROMISED_SEC) == [Taken("bob", [number])]


def test_a_file_moved_away_counts_as_taken(worker: Worker, tmp_path: Path) -> None:
    first, second = worker.deliver("bob", 2)
    worker.wait(10)
    worker.path_of("bob", first).rename(tmp_path / "mine.json")
    worker.path_of("bob", second).rename(worker.path / "bob/read.json")
    assert taken(worker.wait(PROMISED_SEC)) == {"bob": [first, second]}


def test_many_files_deleted_at_once_all_count(worker: Worker) -> None:
    numbers = {mailbox: worker.deliver(mailbox, 300) for mailbox in ("bob", "eve")}
    worker.wait(10)
    for path in worker.path.glob("*/*.json"):
        path.unlink()
    reports = taken(worker.wait(2))
    assert {mailbox: sorted(ids) for mailbox, ids in reports.items()} == numbers


def test_a_file_replaced_by_an_editor_was_not_taken(worker: Worker, tmp_path: Path) -> None:
    """Some editors save by moving the old file aside and writing a new one."""
    (number,) = worker.deliver("bob")
    worker.wait(10)
    worker.path_of("bob", number).rename(worker.path / "bob/backup~")
    worker.path_of("bob", number).write_text("{}")
    assert worker.wait(10) == []
    worker.path_of("bob", number).unlink()
    assert worker.wait(PROMISED_SEC) == [Taken("bob", [number])]


def test_files_with_other_names_are_ignored(worker: Worker) -> None:
    (number,) = worker.deliver("bob")
    for name in ("x", "x.json", f"{number:x}.json", f"{format_id(number)}.json.bak", "8" * 16 + ".json", "\udcff.json"):
        (worker.path / "bob" / name).touch()
    (worker.path / "bob/0000000000000abc.json").mkdir()
    worker.wait(10)
    for path in (worker.path / "bob").iterdir():
        if path != worker.path_of("bob", number):
            path.rmdir() if path.is_dir() else path.unlink()
    assert worker.wait(10) == []


def test_files_written_by_the_daemon_cause_no_event(watched: Worker) -> None:
    watched.deliver("bob", 5)
    watched.wait(10)
    watched.deliver("bob", 5)
    watched.deliver("new", 5)
    for number in watched.unread["bob"]:
        watched.files.write_durably("bob", number, b"{}")  # over the one that is there
    fileno = watched.watch.fileno()
    assert fileno is not None
    assert select.select([fileno], [], [], 0)[0] == []


def test_files_removed_by_the_daemon_are_not_reported(worker: Worker) -> None:
    numbers = worker.deliver("bob", 5)
    worker.acknowledge("bob", numbers[0])
    worker.wait(10)
    for number in numbers[1:3]:
        worker.acknowledge("bob", number)
    assert worker.wait(10) == []
    worker.path_of("bob", numbers[3]).unlink()
    worker.collect()
    worker.acknowledge("bob", numbers[3])  # while its deletion is held
    assert worker.wait(10) == []


def test_taking_mail_one_by_one_is_reported_without_delay(worker: Worker) -> None:
    numbers = worker.deliver("bob", 40)
    worker.wait(10)
    for position, number in enumerate(numbers):
        worker.path_of("bob", number).unlink()
        worker.wait(0.09)
        assert not worker.unread["bob"] & set(numbers[: max(0, position - 11)])  # older than a second


def test_changes_in_unwatched_directories_are_found(tmp_path: Path) -> None:
    worker = Worker(tmp_path, watched_most=2)
    for name in "abcdef":
        worker.deliver(name, 2)
    worker.wait(20)
    for name in "abcdef":
        (number, _) = sorted(worker.unread[name])
        worker.path_of(name, number).unlink()
        assert worker.wait(PROMISED_SEC) == [Taken(name, [number])]
    for name in "abcdef":
        (number,) = worker.unread[name]
        worker.path_of(name, number).unlink()
    assert len(taken(worker.wait(PROMISED_SEC))) == 6
    worker.close()


def test_a_held_deletion_survives_the_eviction_of_its_watch(tmp_path: Path) -> None:
    worker = Worker(tmp_path, watched_most=1)
    (number,) = worker.deliver("bob")
    worker.wait(10)
    worker.path_of("bob", number).unlink()
    for name in "cdefg":
        worker.deliver(name)
    assert taken(worker.wait(PROMISED_SEC)) == {"bob": [number]}
    worker.close()


def test_a_deletion_just_before_the_eviction_of_its_watch_counts(tmp_path: Path) -> None:
    worker = Worker(tmp_path, watched_most=2)
    worker.deliver("first")
    worker.wait(1)
    (number,) = worker.deliver("second")
    worker.wait(10)
    worker.deliver("c")
    worker.deliver("d")  # which is the first to be watched, in the place of `first`
    worker.unread = Meddler(worker.unread, "d", worker.path_of("second", number).unlink)
    assert taken(worker.wait(PROMISED_SEC)) == {"second": [number]}
    worker.close()


class Meddler(dict[str, set[int]]):
    """Makes something happen in the middle of `collect_reports`: when it first asks for one mailbox's ids."""

    def __init__(self, unread: dict[str, set[int]], mailbox: str, happen: Callable[[], None]) -> None:
        super().__init__(unread)
        self._happen = {mailbox: happen}

    def get(self, mailbox: str, default: set[int]) -> set[int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._happen.pop(mailbox, bool)()
        return super().get(mailbox, default)


def test_a_directory_to_be_compared_after_an_overflow_is_not_evicted_before(tmp_path: Path) -> None:
    worker = Worker(tmp_path, watched_most=2)
    numbers = {name: worker.deliver(name)[0] for name in "ab"}
    worker.wait(10)
    flood(worker.path / "b")
    for name in "ab":
        worker.path_of(name, numbers[name]).unlink()
    for name in "cde":
        worker.deliver(name)
    assert taken(worker.wait(PROMISED_SEC)) == {name: [numbers[name]] for name in "ab"}
    worker.close()


def test_files_removed_by_the_daemon_during_a_comparison_are_not_reported(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    numbers = worker.deliver("bob", 700)
    worker.now_sec += 0.6
    assert worker.collect() == []  # the first slice
    for number in numbers[::7]:
        worker.acknowledge("bob", number)
    assert worker.wait(10) == []
    worker.close()


def test_after_an_overflow_the_directories_are_compared(watched: Worker) -> None:
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
    worker = Worker(tmp_path)
    first, *_ = worker.deliver("bob", 700)
    worker.path_of("bob", first).unlink()
    assert worker.collect() == []
    worker.now_sec += 0.6
    assert worker.collect() == []
    assert 0 < worker.watch.due_in_sec(worker.now_sec) <= 0.05  # there is more to compare
    assert worker.wait(PROMISED_SEC) == [Taken("bob", [first])]
    worker.close()


# -- never taken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 15, 300])
def test_a_directory_that_is_deleted_with_its_files_is_a_fault(worker: Worker, count: int) -> None:
    worker.deliver("bob", count)
    worker.wait(10)
    shutil.rmtree(worker.path / "bob")
    assert faults(worker.wait(10)) == ["bob"]
    assert len(worker.unread["bob"]) == count
    worker.file_again("bob")
    assert worker.wait(10) == []
    number = min(worker.unread["bob"])
    worker.path_of("bob", number).unlink()
    assert worker.wait(PROMISED_SEC + 0.5) == [Taken("bob", [number])]


def test_a_directory_that_is_deleted_slowly_is_a_fault(worker: Worker) -> None:
    numbers = worker.deliver("bob", 200)
    worker.wait(10)
    for number in numbers:
        worker.path_of("bob", number).unlink()
        assert worker.wait(0.015) == []  # 3 s in all: a slow disk
    (worker.path / "bob").rmdir()
    assert faults(worker.wait(10)) == ["bob"]


def test_a_directory_that_is_deleted_and_made_again_is_a_fault(worker: Worker) -> None:
    worker.deliver("bob", 3)
    worker.wait(10)
    shutil.rmtree(worker.path / "bob")
    (worker.path / "bob").mkdir()  # most file systems give it the same inode number
    assert faults(worker.wait(10)) == ["bob"]


def test_mail_that_comes_after_the_directory_was_deleted_hides_nothing(worker: Worker) -> None:
    worker.deliver("bob", 3)
    worker.wait(10)
    shutil.rmtree(worker.path / "bob")
    worker.deliver("bob")
    assert faults(worker.wait(10)) == ["bob"]
    assert len(worker.unread["bob"]) == 4


def test_a_directory_that_was_moved_away_or_swapped_is_a_fault(worker: Worker, tmp_path: Path) -> None:
    for name in ("moved", "swapped", "renamed", "target"):
        worker.deliver(name, 2)
    worker.wait(10)
    (worker.path / "moved").rename(tmp_path / "moved")
    (tmp_path / "other").mkdir()
    (worker.path / "swapped").rename(tmp_path / "swapped")
    (tmp_path / "other").rename(worker.path / "swapped")
    shutil.rmtree(worker.path / "target")
    (worker.path / "renamed").rename(worker.path / "target")
    assert set(faults(worker.wait(10))) == {"moved", "swapped", "renamed", "target"}


@pytest.mark.parametrize("what", ["file", "link", "loop"])
def test_something_else_in_the_place_of_a_directory_is_a_fault(worker: Worker, tmp_path: Path, what: str) -> None:
    worker.deliver("bob", 2)
    worker.wait(10)
    (worker.path / "bob").rename(tmp_path / "bob")
    if what == "file":
        (worker.path / "bob").touch()
    else:
        (worker.path / "bob").symlink_to(tmp_path / "bob" if what == "link" else "bob")
    for path in (tmp_path / "bob").iterdir():
        path.unlink()
    assert faults(worker.wait(10)) == ["bob"]


def test_a_directory_that_cannot_be_read_is_a_fault(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = worker.deliver("bob", 2)
    worker.wait(10)
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "bob":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patch:  # as root, permissions would not stop us
        patch.setattr(os, "open", refuse)
        worker.path_of("bob", numbers[0]).unlink()
        (fault,) = worker.wait(10)
    assert fault == DirectoryFault("bob", "its directory cannot be read: Permission denied")
    worker.file_again("bob")
    assert worker.wait(10) == []


def test_an_inbox_that_is_replaced_loses_every_mailbox(worker: Worker, tmp_path: Path) -> None:
    for name in "abc":
        worker.deliver(name)
    worker.wait(10)
    worker.path.rename(tmp_path / "old")
    assert sorted(faults(worker.wait(10))) == ["a", "b", "c"]
    for name in "abc":
        worker.file_again(name)
    assert worker.wait(10) == []
    (number,) = worker.unread["a"]
    worker.path_of("a", number).unlink()
    assert worker.wait(PROMISED_SEC + 0.5) == [Taken("a", [number])]
    shutil.rmtree(worker.path)
    assert set(faults(worker.wait(10))) == {"b", "c"}


def test_an_inbox_that_was_away_for_a_while_is_noticed_when_it_is_replaced_later(
    worker: Worker, tmp_path: Path
) -> None:
    worker.deliver("bob")
    worker.wait(10)
    worker.path.rename(tmp_path / "away")
    assert faults(worker.wait(10)) == ["bob"]
    (tmp_path / "away").rename(worker.path)
    worker.file_again("bob")
    assert worker.wait(10) == []
    worker.path.rename(tmp_path / "old")
    worker.path.mkdir()
    assert faults(worker.wait(10)) == ["bob"]


def test_nothing_counts_as_taken_until_a_lost_mailbox_is_filed_again(worker: Worker) -> None:
    numbers = worker.deliver("bob", 3)
    worker.wait(10)
    shutil.rmtree(worker.path / "bob")
    assert faults(worker.wait(10)) == ["bob"]
    numbers += worker.deliver("bob")
    worker.wait(10)
    worker.path_of("bob", numbers[-1]).unlink()
    assert worker.wait(10) == []
    shutil.rmtree(worker.path / "bob")
    if worker.watch.fileno() is not None:
        assert faults(worker.wait(10)) == ["bob"]  # what was filed again meanwhile is lost again
    worker.file_again("bob")
    assert worker.wait(10) == []
    assert len(worker.unread["bob"]) == 4


def test_removing_the_directory_of_an_empty_mailbox_is_no_fault(worker: Worker) -> None:
    (number,) = worker.deliver("bob")
    worker.acknowledge("bob", number)
    (worker.path / "stranger").mkdir()
    worker.wait(10)
    shutil.rmtree(worker.path / "bob")
    (worker.path / "stranger").rmdir()
    assert worker.wait(10) == []
    (number,) = worker.deliver("bob")
    worker.wait(10)
    worker.path_of("bob", number).unlink()
    assert worker.wait(PROMISED_SEC) == [Taken("bob", [number])]


def test_files_from_before_the_start_are_watched(tmp_path: Path) -> None:
    files = InboxFiles(tmp_path)
    files.write(files.ensure_directory("bob"), 7, b"{}")
    files.write(files.ensure_directory("eve"), 8, b"{}")
    files.close()
    worker = Worker(tmp_path)
    worker.unread = {"bob": {7}, "eve": {8}}
    assert worker.wait(10) == []
    worker.path_of("bob", 7).unlink()
    shutil.rmtree(worker.path / "eve")
    reports = worker.wait(PROMISED_SEC)
    assert sorted(reports, key=str) == [DirectoryFault("eve", "its directory is gone"), Taken("bob", [7])]
    worker.close()


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
        worker = Worker(Path(directory), watched_most)
        gone: set[int] = set()  # taken by agents
        for step, mailbox, number in [*steps, ("wait", "", 5.0), ("wait", "", 5.0)]:
            path = worker.path / mailbox
            there = sorted(path.glob("*.json"))[: int(number)] if mailbox else []
            if step == "deliver":
                worker.deliver(mailbox, int(number))
            elif step == "take":
                for one in there:
                    gone.add(int(one.stem, 16))
                    one.unlink()
            elif step == "acknowledge":
                for one in there:
                    worker.acknowledge(mailbox, int(one.stem, 16))
            elif step == "delete":
                shutil.rmtree(path, ignore_errors=True)
            elif step == "replace":
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
            elif step == "swap" and path.exists():
                path.rename(worker.path.with_name(f"old-{len(list(Path(directory).iterdir()))}"))
            else:
                for report in worker.wait(number):
                    if isinstance(report, Taken):
                        assert set(report.message_ids) <= gone
                    else:
                        gone -= worker.unread[report.mailbox]  # delivered once more
                        worker.file_again(report.mailbox)
        for mailbox, unread in worker.unread.items():
            assert (worker.files.list_ids(mailbox) or set()) == unread
        worker.close()
