"""The census counts the inbox files that lie there, and nothing else."""

from pathlib import Path

import pytest
from mailroomd.gateway.inbox_census import InboxCensus, PendingFiles


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def put(inbox: Path, name: str, *numbers: int) -> None:
    (inbox / name).mkdir(exist_ok=True)
    for number in numbers:
        (inbox / name / f"{number:016x}.json").touch()


def test_the_files_of_each_session_are_counted_and_empty_ones_left_out(inbox: Path, tmp_path: Path) -> None:
    put(inbox, "a", 7, 5, 9)
    put(inbox, "b@team", 11)
    put(inbox, "empty")
    census = InboxCensus(tmp_path)
    assert census.take() == {"a": PendingFiles(3, 5), "b@team": PendingFiles(1, 11)}
    assert census.take("a") == {"a": PendingFiles(3, 5)}
    assert [census.take(name) for name in ("empty", "nobody")] == [{}, {}]
    (inbox / "a" / f"{5:016x}.json").unlink()
    assert census.take("a") == {"a": PendingFiles(2, 7)}


def test_what_is_no_inbox_file_is_not_counted(inbox: Path, tmp_path: Path) -> None:
    put(inbox, "a", 7)
    for name in (
        ".7.tmp",
        "note.json",
        "note.txt",
        f"{3:016x}",
        f"{3:016X}.jsonx",
        f"{0xABC:016X}.json",
        f"{0:016x}.json",
    ):
        (inbox / "a" / name).touch()
    put(inbox, ".tmp", 1)
    put(inbox, "no name", 2)
    (inbox / "file").touch()
    assert InboxCensus(tmp_path).take() == {"a": PendingFiles(1, 7)}


def test_no_link_is_followed_and_no_name_leaves_the_inbox(inbox: Path, tmp_path: Path) -> None:
    put(tmp_path, "aside", 1)
    (inbox / "link").symlink_to(tmp_path / "aside")
    census = InboxCensus(tmp_path)
    assert [census.take(name) for name in ("", "link", "../aside", "/tmp", ".")] == [{}] * 5


@pytest.mark.parametrize("what", ["missing", "a file", "a link"])
def test_where_there_is_no_inbox_there_are_no_files(tmp_path: Path, what: str) -> None:
    if what == "a file":
        (tmp_path / "inbox").touch()
    elif what == "a link":
        (tmp_path / "inbox").symlink_to(tmp_path)
    assert InboxCensus(tmp_path).take() == {}


def test_a_census_leaves_no_descriptor_open(inbox: Path, tmp_path: Path) -> None:
    put(inbox, "a", 1)
    (inbox / "file").touch()
    census = InboxCensus(tmp_path)
    before = len([*Path("/proc/self/fd").iterdir()])
    for name in ("", "a", "file", "nobody"):
        census.take(name)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
