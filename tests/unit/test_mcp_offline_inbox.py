"""Reading inbox files without the daemon: files by the daemon's own writer, and whatever else may lie there."""

from pathlib import Path

import pytest
from mailroom import InvalidArgument, Priority
from mailroom_apps.mcp.inbox_directory import InboxDirectory
from mailroomd.model.ids import format_id
from mailroomd.model.message import Draft
from mailroomd.model.message import Priority as DaemonPriority
from mailroomd.storage.inbox.encoding import encode_inbox_file

NUMBER = 0x0198_C0FF_EE00_0001


def put(root: Path, agent: str, name: str, content: bytes) -> Path:
    path = root / "inbox" / agent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def encoded(number: int, content: str = "go") -> bytes:
    draft = Draft(
        recipient="abc",
        sender="dashboard",
        content=content,
        type="note",
        metadata=b'{"n":1}',
        thread_id="t",
        in_reply_to=NUMBER - 1,
        priority=DaemonPriority.HIGH,
        ttl_ms=60_000,
    )
    return encode_inbox_file(number, 1_764_000_000_000, draft)


def test_what_the_daemon_writes_is_read_oldest_first(tmp_path: Path) -> None:
    for number in (NUMBER + 1, NUMBER):
        put(tmp_path, "abc", f"{format_id(number)}.json", encoded(number))
    first, second = InboxDirectory(tmp_path).read("abc")
    assert (first.id, second.id) == (format_id(NUMBER), format_id(NUMBER + 1))
    assert (first.recipient, first.sender, first.content, first.type) == ("abc", "dashboard", "go", "note")
    assert (first.thread_id, first.in_reply_to) == ("t", format_id(NUMBER - 1))
    assert (first.metadata, first.priority) == ({"n": 1}, Priority.HIGH)
    assert first.timestamp is not None
    assert first.expires_at is not None
    assert (first.expires_at - first.timestamp).total_seconds() == 60


def test_what_is_no_whole_inbox_file_is_passed_over(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(encoded(NUMBER, "secret"))
    whole = encoded(NUMBER)
    put(tmp_path, "abc", f"{format_id(NUMBER)}.json", whole)
    put(tmp_path, "abc", f"{format_id(NUMBER + 1)}.json", whole[:-20])
    put(tmp_path, "abc", f"{format_id(NUMBER + 2)}.json", b"")
    put(tmp_path, "abc", f"{format_id(NUMBER + 3)}.json", b"[]")
    put(tmp_path, "abc", "notes.json", whole)
    put(tmp_path, "abc", f"{format_id(NUMBER + 4)}.json.tmp", whole)
    link = tmp_path / "inbox" / "abc" / f"{format_id(NUMBER + 5)}.json"
    link.symlink_to(secret)
    assert [message.content for message in InboxDirectory(tmp_path).read("abc")] == ["go"]


def test_an_agent_without_a_directory_has_no_mail_but_a_missing_inbox_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="inbox"):
        InboxDirectory(tmp_path).read("abc")
    (tmp_path / "inbox").mkdir()
    assert InboxDirectory(tmp_path).read("abc") == []


@pytest.mark.parametrize("name", ["", "..", "../abc", "/etc", "a@..", ".tmp", "a" * 129, "a\0b"])
def test_what_is_no_name_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "inbox").mkdir()
    with pytest.raises(InvalidArgument):
        InboxDirectory(tmp_path).read(name)
