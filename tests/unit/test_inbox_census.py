"""The census counts the inbox files on disk, and nothing else."""

import os
from pathlib import Path

import pytest
from mailroomd.gateway.inbox_census import InboxCensus, PendingFiles


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def put(inbox: Path, name: str, *message_ids: int) -> None:
    (inbox / name).mkdir(exist_ok=True)
    for message_id in message_ids:
        (inbox / name / f"{message_id:016x}.json").touch()


def test_files_are_counted_by_session_and_empty_directories_are_left_out(inbox: Path, tmp_path: Path) -> None:
    put(inbox, "a", 7, 5, 9)
    put(inbox, "b@team", 11)
    put(inbox, "empty")
    census = InboxCensus(tmp_path)
    for name, message_id in (("a", 5), ("a", 7), ("b@team", 11)):
        os.utime(inbox / name / f"{message_id:016x}.json", (message_id, message_id))
    assert census.count() == {"a": PendingFiles(3, 5, 5000), "b@team": PendingFiles(1, 11, 11_000)}
    assert census.count("a") == {"a": PendingFiles(3, 5, 5000)}
    assert [census.count(name) for name in ("empty", "nobody")] == [{}, {}]
    (inbox / "a" / f"{5:016x}.json").unlink()
    assert census.count("a") == {"a": PendingFiles(2, 7, 7000)}


def test_other_files_are_not_counted(inbox: Path, tmp_path: Path) -> None:
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
    assert {name: found[:2] for name, found in InboxCensus(tmp_path).count().items()} == {"a": (1, 7)}


def test_links_are_not_followed_and_no_name_leaves_the_inbox(inbox: Path, tmp_path: Path) -> None:
    put(tmp_path, "aside", 1)
    (inbox / "link").symlink_to(tmp_path / "aside")
    census = InboxCensus(tmp_path)
    assert [census.count(name) for name in ("", "link", "../aside", "/tmp", ".")] == [{}] * 5


@pytest.mark.parametrize("inbox_kind", ["missing", "a file", "a link"])
def test_a_missing_inbox_has_no_files(tmp_path: Path, inbox_kind: str) -> None:
    if inbox_kind == "a file":
        (tmp_path / "inbox").touch()
    elif inbox_kind == "a link":
        (tmp_path / "inbox").symlink_to(tmp_path)
    assert InboxCensus(tmp_path).count() == {}


def test_a_census_leaves_no_descriptor_open(inbox: Path, tmp_path: Path) -> None:
    put(inbox, "a", 1)
    (inbox / "file").touch()
    census = InboxCensus(tmp_path)
    before = len([*Path("/proc/self/fd").iterdir()])
    for name in ("", "a", "file", "nobody"):
        census.count(name)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
