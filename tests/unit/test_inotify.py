"""The inotify wrapper, against the kernel."""

import ctypes
import errno
import os
import resource
import select
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroomd.storage.directories.inotify import Event, Inotify, Mask

EVERYTHING = Mask.CLOSE_WRITE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.CREATE | Mask.DELETE | Mask.DELETE_SELF
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    made = Inotify()
    yield made
    made.close()


def said(events: list[Event]) -> list[tuple[Mask, str]]:
    return [(Mask(one.mask), one.name) for one in events]


def test_nothing_is_read_where_nothing_happened(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(tmp_path, EVERYTHING)
    assert inotify.read() == []
    assert select.select([inotify.fileno()], [], [], 0)[0] == []


def test_events_come_in_the_order_in_which_things_happened(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b = inotify.add(tmp_path / "a", EVERYTHING), inotify.add(str(tmp_path / "b"), EVERYTHING)
    (tmp_path / "a/x").write_text("x")
    (tmp_path / "a/x").rename(tmp_path / "b/longer name")
    (tmp_path / "b/d").mkdir()
    (tmp_path / "b/longer name").unlink()
    assert select.select([inotify.fileno()], [], [], 0)[0] == [inotify.fileno()]
    assert [(one.wd, Mask(one.mask), one.name) for one in inotify.read()] == [
        (a, Mask.CREATE, "x"),
        (a, Mask.CLOSE_WRITE, "x"),
        (a, Mask.MOVED_FROM, "x"),
        (b, Mask.MOVED_TO, "longer name"),
        (b, Mask.CREATE | Mask.IS_DIRECTORY, "d"),
        (b, Mask.DELETE, "longer name"),
    ]


def test_only_what_was_asked_for_is_reported(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    inotify.add(tmp_path / "box", Mask.DELETE | Mask.MOVED_FROM | Mask.DELETE_SELF)
    for _ in range(2):  # the second is renamed over the first
        (tmp_path / "new").write_text("x")
        (tmp_path / "new").rename(tmp_path / "box/x")
    assert inotify.read() == []
    (tmp_path / "box/x").unlink()
    assert said(inotify.read()) == [(Mask.DELETE, "x")]


def test_an_open_directory_is_watched_wherever_it_moves(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    handle = os.open(tmp_path / "box", os.O_RDONLY)
    (tmp_path / "box").rename(tmp_path / "moved")
    (tmp_path / "box").symlink_to("/etc")
    wd = inotify.add(handle, EVERYTHING)
    os.close(handle)
    (tmp_path / "moved/x").touch()
    assert [(one.wd, one.name) for one in inotify.read()] == [(wd, "x")] * 2


def test_a_watch_ends_with_its_directory_and_its_number_is_not_reused(inotify: Inotify, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    wd = inotify.add(box, EVERYTHING)
    assert inotify.add(box, EVERYTHING) == wd
    box.rmdir()
    box.mkdir()  # most file systems give it the same inode number
    assert inotify.add(box, EVERYTHING) != wd
    assert said(inotify.read()) == [(Mask.DELETE_SELF, ""), (Mask.IGNORED, "")]
    assert not inotify.remove(wd)


def test_removing_a_watch_causes_one_event(inotify: Inotify, tmp_path: Path) -> None:
    wd = inotify.add(tmp_path, EVERYTHING)
    assert inotify.remove(wd)
    (tmp_path / "x").touch()
    events = inotify.read()
    assert [one.is_ignored for one in events] == [True]
    assert not inotify.remove(wd)


def test_more_events_than_fit_into_one_read_come_with_the_next(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(tmp_path, Mask.CREATE)
    names = [f"{number:016x}.json" for number in range(2000)]
    handle = os.open(tmp_path, os.O_RDONLY)
    for name in names:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=handle))
    os.close(handle)
    heard: list[str] = []
    while events := inotify.read():
        assert len(events) < 1500
        heard += [one.name for one in events]
    assert heard == names


def test_an_overflow_is_an_event(inotify: Inotify, tmp_path: Path) -> None:
    inotify.add(tmp_path, Mask.CLOSE_WRITE)
    flood(tmp_path)
    events: list[Event] = []
    while some := inotify.read():
        events += some
    assert [one.is_overflow for one in events] == [False] * QUEUE + [True]
    assert (events[-1].wd, events[-1].name) == (-1, "")
    (tmp_path / "x").touch()
    assert said(inotify.read()) == [(Mask.CLOSE_WRITE, "x")]


def flood(directory: Path) -> None:
    """Makes more events than the kernel's queue holds. Equal ones in succession count as one: so two files."""
    handle = os.open(directory, os.O_RDONLY)
    for number in range(QUEUE + 2):
        os.close(os.open(f"flood-{number % 2}", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
    os.close(handle)


SHARED = Inotify()  # as closing one takes 20 ms


@given(
    st.binary(min_size=1, max_size=255).filter(lambda raw: not {0, ord("/")} & set(raw) and raw not in (b".", b".."))
)
@settings(max_examples=30, deadline=None)
def test_any_name_comes_as_it_is(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        wd = SHARED.add(directory, Mask.CREATE)
        os.close(os.open(os.fsencode(directory) + b"/" + raw, os.O_WRONLY | os.O_CREAT))
        (event,) = [one for one in SHARED.read() if one.wd == wd]
    assert os.fsencode(event.name) == raw


def test_an_error_names_the_path_that_cannot_be_watched(inotify: Inotify, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        inotify.add(tmp_path / "nowhere", EVERYTHING)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        inotify.add(tmp_path / "file", EVERYTHING | Mask.ONLY_DIRECTORY)
    with pytest.raises(ValueError, match="null byte"):
        inotify.add("/tmp\0/x", EVERYTHING)


def test_without_a_descriptor_left_the_error_names_the_limits() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(OSError, match="max_user_instances") as caught:
            Inotify()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE


def test_without_a_watch_left_the_error_names_the_limit(
    inotify: Inotify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kernel:
        """A kernel whose user has used up his watches."""

        def inotify_add_watch(self, *_: object) -> int:
            ctypes.set_errno(errno.ENOSPC)
            return -1

    monkeypatch.setattr("mailroomd.storage.directories.inotify._libc", Kernel())
    with pytest.raises(OSError, match="max_user_watches") as caught:
        inotify.add(tmp_path, EVERYTHING)
    assert caught.value.errno == errno.ENOSPC


def test_closing_twice_is_allowed(tmp_path: Path) -> None:
    made = Inotify()
    made.add(tmp_path, EVERYTHING)
    made.close()
    made.close()
    assert made.fileno() == -1
