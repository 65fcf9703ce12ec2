"""Reading inbox files without the daemon: files of its own encoder, and any others that may be there."""

import os
from pathlib import Path

import pytest
from mailroom import InvalidArgument, Priority
from mailroom.inbox_file import read_inbox_file
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroom_apps.mcp import offline_inbox
from mailroom_apps.mcp.offline_inbox import OfflineInbox
from mailroomd.model.ids import format_id
from mailroomd.model.message import Draft
from mailroomd.model.message import Priority as DaemonPriority

MESSAGE_ID = 0x0198_C0FF_EE00_0001
TTL_MS = 100 * 365 * 86_400_000


def put(root: Path, agent: str, name: str, content: bytes) -> Path:
    path = root / "inbox" / agent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def encoded(message_id: int, content: str = "go", *, verified: bool = False, ttl_ms: int = TTL_MS) -> bytes:
    draft = Draft(
        recipient="abc",
        sender="dashboard",
        content=content,
        type="note",
        metadata=b'{"n":1}',
        thread_id="t",
        in_reply_to=MESSAGE_ID - 1,
        priority=DaemonPriority.HIGH,
        ttl_ms=ttl_ms,
        verified=verified,
    )
    return encode_inbox_file(message_id, 1_764_000_000_000, draft)


def test_files_of_the_daemon_are_read_oldest_first(tmp_path: Path) -> None:
    for message_id in (MESSAGE_ID + 1, MESSAGE_ID):
        put(tmp_path, "abc", f"{format_id(message_id)}.json", encoded(message_id))
    first, second = OfflineInbox(tmp_path).read("abc", 10)
    assert (first.id, second.id) == (format_id(MESSAGE_ID), format_id(MESSAGE_ID + 1))
    assert (first.recipient, first.sender, first.content, first.type) == ("abc", "dashboard", "go", "note")
    assert (first.thread_id, first.in_reply_to) == ("t", format_id(MESSAGE_ID - 1))
    assert (first.metadata, first.priority) == ({"n": 1}, Priority.HIGH)
    assert first.timestamp is not None
    assert first.expires_at is not None
    assert (first.expires_at - first.timestamp).total_seconds() == TTL_MS / 1000


@pytest.mark.parametrize("verified", [True, False])
def test_the_file_says_whether_its_sender_is_verified(tmp_path: Path, verified: bool) -> None:
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID)}.json", encoded(MESSAGE_ID, verified=verified))
    (message,) = OfflineInbox(tmp_path).read("abc", 10)
    assert message.sender_verified is verified


def test_anything_but_a_whole_inbox_file_is_skipped(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(encoded(MESSAGE_ID, "secret"))
    whole = encoded(MESSAGE_ID)
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID)}.json", whole)
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID + 1)}.json", whole[:-20])
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID + 2)}.json", b"")
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID + 3)}.json", b"[]")
    put(tmp_path, "abc", "notes.json", whole)
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID + 4)}.json.tmp", whole)
    link = tmp_path / "inbox" / "abc" / f"{format_id(MESSAGE_ID + 5)}.json"
    link.symlink_to(secret)
    (tmp_path / "inbox" / "abc" / f"{format_id(MESSAGE_ID + 6)}.json").mkdir()
    os.mkfifo(tmp_path / "inbox" / "abc" / f"{format_id(MESSAGE_ID + 7)}.json")
    put(tmp_path, "abc", f"{format_id(MESSAGE_ID + 8)}.json", encoded(MESSAGE_ID + 8, "over", ttl_ms=1000))
    inbox = OfflineInbox(tmp_path).read("abc", 1)
    assert [message.content for message in inbox] == ["go"]
    assert not inbox.more


def test_no_file_beyond_the_limit_and_one_more_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{format_id(MESSAGE_ID + index)}.json" for index in range(20)]
    for index, name in enumerate(names):
        put(tmp_path, "abc", name, encoded(MESSAGE_ID + index, str(index)))
    read: list[str] = []

    def record_read(name: str, *, dir_fd: int | None = None) -> bytes:
        read.append(name)
        return read_inbox_file(name, dir_fd=dir_fd)

    monkeypatch.setattr(offline_inbox, "read_inbox_file", record_read)
    inbox = OfflineInbox(tmp_path).read("abc", 2, lambda message: int(message.content) >= 5)
    assert ([message.content for message in inbox], inbox.more) == (["5", "6"], True)
    assert read == names[:8]


def test_a_missing_directory_is_an_empty_mailbox_and_a_missing_inbox_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="inbox"):
        OfflineInbox(tmp_path).read("abc", 10)
    (tmp_path / "inbox").mkdir()
    assert len(OfflineInbox(tmp_path).read("abc", 10)) == 0


@pytest.mark.parametrize("name", ["", "..", "../abc", "/etc", "a@..", ".tmp", "a" * 129, "a\0b"])
def test_an_invalid_name_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "inbox").mkdir()
    with pytest.raises(InvalidArgument):
        OfflineInbox(tmp_path).read(name, 10)
