"""The directory lock follows proper-lockfile's convention and never harms a lock that it does not hold."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mailroomd.storage.team_inbox import directory_lock
from mailroomd.storage.team_inbox.directory_lock import STALE_SEC, DirectoryLock, LockBusy, LockLost
from support.harness.waiting import BOUND_SEC, wait_until

FILE = "bob.json"
SHORT_STALE_SEC = 0.2


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    return tmp_path / f"{FILE}.lock"


def make_older(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_lock_is_a_directory_beside_the_file_and_gone_after_the_release(handle: int, lock_path: Path) -> None:
    lock = DirectoryLock(handle, FILE)
    before = open_descriptors()
    for _ in range(3):
        with lock.held(0):
            assert lock_path.is_dir()
            assert abs(lock_path.stat().st_mtime - time.time()) < BOUND_SEC
        assert not lock_path.exists()
    assert open_descriptors() == before


def test_waiting_for_a_held_lock_ends_after_the_given_time(handle: int, lock_path: Path) -> None:
    with DirectoryLock(handle, FILE).held(0):
        started = time.monotonic()
        with pytest.raises(LockBusy, match=r"another program holds bob.json.lock"):
            DirectoryLock(handle, FILE).acquire(0.05)
        assert 0.05 <= time.monotonic() - started < BOUND_SEC
        assert lock_path.is_dir()


def test_a_waiter_gets_the_lock_when_it_is_released(handle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = DirectoryLock(handle, FILE), DirectoryLock(handle, FILE)
    first.acquire(0)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            first.release()

    monkeypatch.setattr(directory_lock.time, "sleep", pause)
    second.acquire(BOUND_SEC)
    second.release()
    assert len(pauses) == 5
    assert max(pauses) < 2 * directory_lock.LONGEST_PAUSE_SEC


def test_a_lock_becomes_stale_after_ten_seconds_and_is_then_taken_over(handle: int, lock_path: Path) -> None:
    lock_path.mkdir()
    make_older(lock_path, STALE_SEC - 1)
    with pytest.raises(LockBusy):
        DirectoryLock(handle, FILE).acquire(0)
    make_older(lock_path, STALE_SEC + 0.1)
    with DirectoryLock(handle, FILE).held(0):
        assert time.time() - lock_path.stat().st_mtime < STALE_SEC
    assert not lock_path.exists()


def test_the_first_of_two_that_take_over_a_stale_lock_gives_way(
    handle: int, lock_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_path.mkdir()
    make_older(lock_path, STALE_SEC + 1)

    def other_takes_over(_: float) -> None:  # it looked at the stale lock before the new one was made
        lock_path.rmdir()
        lock_path.mkdir()

    monkeypatch.setattr(directory_lock.time, "sleep", other_takes_over)
    with pytest.raises(LockBusy):
        DirectoryLock(handle, FILE).acquire(0)
    assert lock_path.is_dir()


def test_the_holder_keeps_its_lock_fresh(handle: int, lock_path: Path) -> None:
    holder = DirectoryLock(handle, FILE, SHORT_STALE_SEC)
    with holder.held(0):
        for _ in range(3):
            before = lock_path.stat().st_mtime_ns
            wait_until(lambda before=before: lock_path.stat().st_mtime_ns > before, "the lock is renewed")
            with pytest.raises(LockBusy):
                DirectoryLock(handle, FILE).acquire(0)


def test_verifying_renews_the_lock(handle: int, lock_path: Path) -> None:
    with (lock := DirectoryLock(handle, FILE)).held(0):
        before = lock_path.stat().st_mtime_ns
        lock.verify()
        assert lock_path.stat().st_mtime_ns > before


def replace(path: Path) -> None:
    path.rmdir()
    path.mkdir()


def replace_with_same_time(path: Path) -> None:
    before = path.stat()
    replace(path)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))


def put_file_in_place(path: Path) -> None:
    path.rmdir()
    path.touch()
    path.rmdir()  # fails


def remove(path: Path) -> None:
    path.rmdir()


def touch(path: Path) -> None:
    os.utime(path)


@pytest.mark.parametrize("take", [replace, replace_with_same_time, remove, touch])
def test_a_lost_lock_is_noticed_and_left_alone(handle: int, lock_path: Path, take: Callable[[Path], None]) -> None:
    lock = DirectoryLock(handle, FILE)
    lock.acquire(0)
    take(lock_path)
    was_there = lock_path.exists()
    with pytest.raises(LockLost, match=r"another program took or removed bob.json.lock"):
        lock.verify()
    assert lock.is_lost
    with pytest.raises(LockLost):
        lock.release()
    assert lock_path.exists() == was_there


def test_the_keeper_notices_that_the_lock_was_taken(handle: int, lock_path: Path) -> None:
    lock = DirectoryLock(handle, FILE, SHORT_STALE_SEC)
    lock.acquire(0)
    replace(lock_path)
    wait_until(lambda: lock.is_lost, "the loss is noticed")
    with pytest.raises(LockLost):
        lock.release()
    assert lock_path.is_dir()


def test_a_lost_lock_can_be_taken_again(handle: int, lock_path: Path) -> None:
    lock = DirectoryLock(handle, FILE)
    with pytest.raises(LockLost), lock.held(0):
        lock_path.rmdir()
    with lock.held(0):
        assert not lock.is_lost
        lock.verify()


def test_an_error_under_the_lock_releases_it_and_propagates(handle: int, lock_path: Path) -> None:
    with pytest.raises(KeyError), DirectoryLock(handle, FILE).held(0):
        raise KeyError
    assert not lock_path.exists()
    with pytest.raises(NotADirectoryError), DirectoryLock(handle, FILE).held(0):
        put_file_in_place(lock_path)
    assert lock_path.is_file()


def test_a_link_in_place_of_the_lock_is_neither_followed_nor_removed(
    handle: int, tmp_path: Path, lock_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    lock_path.symlink_to("elsewhere")
    with pytest.raises(LockBusy):
        DirectoryLock(handle, FILE).acquire(0)
    make_older(lock_path, STALE_SEC + 1)
    with pytest.raises(NotADirectoryError):
        DirectoryLock(handle, FILE).acquire(0)
    assert lock_path.is_symlink()
    assert (tmp_path / "elsewhere").is_dir()


def test_a_stale_lock_with_something_in_it_is_not_removed(handle: int, lock_path: Path) -> None:
    lock_path.mkdir()
    (lock_path / "precious").touch()
    make_older(lock_path, STALE_SEC + 1)
    with pytest.raises(OSError, match="not empty"):
        DirectoryLock(handle, FILE).acquire(0)
    assert (lock_path / "precious").exists()


@pytest.mark.parametrize("error", [RuntimeError("no more threads"), MemoryError()], ids=["threads", "memory"])
def test_a_lock_without_a_keeper_is_released(
    handle: int, lock_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(directory_lock, "start_new_thread", fail)
    with pytest.raises(OSError, match="no thread to hold its lock"):
        DirectoryLock(handle, "bob.json").acquire(0)
    assert not lock_path.exists()


def test_a_keeper_that_never_begins_holds_nobody_up(
    handle: int, lock_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_nothing(*_: object) -> int:
        return 0

    monkeypatch.setattr(directory_lock, "start_new_thread", begin_nothing)  # it had no memory to begin
    lock = DirectoryLock(handle, "bob.json")
    lock.acquire(0)
    lock.verify()
    lock.release()
    assert not lock_path.exists()
