"""An inbox file is whole under its final name or absent, whatever happens to the directories around it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroom.inbox_file_encoder import encode_inbox_file, is_whole_inbox_file
from mailroomd.model.ids import format_id
from mailroomd.model.message import Draft, Priority
from mailroomd.storage.inbox import files as inbox_files
from mailroomd.storage.inbox.files import InboxFiles, sync_filesystem

NUMBER = 0x1A2B3C4D5E6F7
NAME = f"{NUMBER:016x}.json"
BODY = b'{"id": "0001a2b3c4d5e6f7"}\n'


@pytest.fixture
def files(tmp_path: Path) -> Iterator[InboxFiles]:
    before = descriptors()
    made = InboxFiles(tmp_path)
    yield made
    made.close()
    assert descriptors() == before, "descriptors leak"


def descriptors() -> set[str]:
    """Returns what this process has open below a directory of a test."""
    found: set[str] = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the handle by which they are listed
            found.add(str(one.readlink()))
    return {one for one in found if "pytest-of" in one}


def put(files: InboxFiles, mailbox: str = "abc", number: int = NUMBER, body: bytes = BODY) -> None:
    files.ensure_inbox()
    files.write(files.ensure_directory(mailbox), number, body)


# -- the format -------------------------------------------------------------------------------------------------------


def test_a_file_has_the_eight_required_fields_and_a_utc_timestamp() -> None:
    draft = Draft("abc", "dashboard", "go ☃", metadata=b'{"a":[1,{"b":null}]}')
    raw = encode_inbox_file(NUMBER, 1_800_000_000_123, draft)
    assert raw.endswith(b"}\n")
    assert raw.count(b"\n") == 1
    assert json.loads(raw) == {
        "type": "message",
        "from": "dashboard",
        "content": "go ☃",
        "message_type": "text",
        "metadata": {"a": [1, {"b": None}]},
        "id": format_id(NUMBER),
        "session_id": "abc",
        "timestamp": "2027-01-15T08:00:00.123Z",
    }


def test_a_file_has_the_optional_fields_that_the_message_has() -> None:
    draft = Draft("abc", "b", "", "question", b"{}", "thread", 0xFF, Priority.URGENT, 60_000)
    body = json.loads(encode_inbox_file(NUMBER, 0, draft))
    assert (body["message_type"], body["thread_id"], body["in_reply_to"]) == ("question", "thread", "00000000000000ff")
    assert (body["priority"], body["expires_at"]) == ("urgent", "1970-01-01T00:01:00.000Z")


@given(st.integers(0, 4_000_000_000_000))
def test_every_timestamp_parses_back_to_the_same_millisecond(milliseconds: int) -> None:
    said = orjson.loads(encode_inbox_file(1, milliseconds, Draft("a", "b", "c")))["timestamp"]
    assert datetime.fromisoformat(said) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@given(st.text(max_size=50), st.integers(0, 60))
def test_a_truncated_file_is_not_whole_and_an_extended_one_is(content: str, cut: int) -> None:
    raw = encode_inbox_file(NUMBER, 0, Draft("abc", "b", content))
    assert is_whole_inbox_file(raw, NUMBER)
    assert not is_whole_inbox_file(raw[: -2 - cut], NUMBER)
    assert not is_whole_inbox_file(raw, NUMBER + 1)
    assert is_whole_inbox_file(orjson.dumps({**orjson.loads(raw), "seen": True}), NUMBER)


@pytest.mark.parametrize("raw", [b"", b"\0" * 100, b"[]", b'"x"', b"null", b'{"id": 7}', b"{}", b"\xff\xfe"])
def test_other_content_is_not_a_whole_inbox_file(raw: bytes) -> None:
    assert not is_whole_inbox_file(raw, NUMBER)


# -- writing ----------------------------------------------------------------------------------------------------------


def test_directories_are_created_private_and_existing_files_stay(tmp_path: Path) -> None:
    old = tmp_path / "root" / "inbox" / "abc" / "note.txt"
    old.parent.mkdir(parents=True)
    old.write_text("mine")
    files = InboxFiles(tmp_path / "root")
    put(files)
    put(files, "new")
    files.close()
    assert old.read_text() == "mine"
    assert (old.parent / NAME).read_bytes() == BODY
    new = tmp_path / "root" / "inbox" / "new"
    assert new.stat().st_mode & 0o777 == 0o700
    assert (new / NAME).stat().st_mode & 0o777 == 0o600


def test_a_file_appears_whole_under_its_final_name_only(
    files: InboxFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = os.write

    def write(handle: int, rest: memoryview) -> int:
        seen.append([one.name for one in (tmp_path / "inbox").rglob("*.json")])
        return real(handle, rest[:7])  # in pieces, as a kernel may

    monkeypatch.setattr("os.write", write)
    put(files)
    assert len(seen) > 2
    assert not any(seen)
    assert (tmp_path / "inbox" / "abc" / NAME).read_bytes() == BODY
    assert [*(tmp_path / "inbox" / ".tmp").iterdir()] == []


@pytest.mark.parametrize("call", ["os.write", "os.rename"])
def test_a_write_that_fails_leaves_nothing(
    files: InboxFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(call, fail)
        with pytest.raises(OSError, match="No space"):
            put(files)
    assert [one for one in (tmp_path / "inbox").rglob("*") if one.is_file()] == []
    put(files)
    assert files.list_ids("abc") == {NUMBER}


def test_a_file_is_replaced_by_rename_and_a_link_in_its_place_is_not_followed(
    files: InboxFiles, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    files.ensure_directory("abc")
    place = tmp_path / "inbox" / "abc" / NAME
    place.symlink_to(victim)
    put(files)
    assert victim.read_text() == "precious"
    assert not place.is_symlink()
    assert files.read("abc", NUMBER) == BODY


def test_a_late_file_is_synced_with_its_directory(
    files: InboxFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr("os.fsync", fsync)
    (tmp_path / "inbox" / ".tmp" / format_id(NUMBER)).write_text("left over")
    files.write_durably("abc", NUMBER, BODY)
    assert synced == [NAME, "abc"]
    assert files.read("abc", NUMBER) == BODY


def test_syncing_a_filesystem_needs_a_valid_handle(files: InboxFiles) -> None:
    sync_filesystem(files.inbox_fileno)
    with pytest.raises(OSError, match="syncfs"):
        sync_filesystem(-1)


# -- reading and removing ---------------------------------------------------------------------------------------------


def test_only_names_that_are_ids_are_listed(files: InboxFiles, tmp_path: Path) -> None:
    put(files)
    for name in ("note.json", "0001.json", f"{NUMBER:016x}", f"{NUMBER:016X}.json", ".hidden.json", f"{NAME}.tmp"):
        (tmp_path / "inbox" / "abc" / name).touch()
    assert files.list_ids("abc") == {NUMBER}
    assert files.list_ids("nobody") is None
    assert not (tmp_path / "inbox" / "nobody").exists()
    (tmp_path / "inbox" / ".hidden").mkdir()
    (tmp_path / "inbox" / "link").symlink_to(tmp_path / "inbox" / "abc")
    assert files.mailboxes() == ["abc"]


def test_removing_a_file_that_is_gone_succeeds(files: InboxFiles) -> None:
    put(files)
    put(files, number=NUMBER + 1)
    files.remove("abc", NUMBER)
    files.remove("abc", NUMBER)
    files.remove("nobody", NUMBER)
    assert files.list_ids("abc") == {NUMBER + 1}
    assert files.read("abc", NUMBER) is None
    assert files.read("nobody", NUMBER) is None


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_directory(place: Path) -> None:
    place.mkdir()


def a_link(place: Path) -> None:
    place.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [a_pipe, a_directory, a_link])
def test_a_pipe_link_or_directory_under_a_files_name_is_not_read(
    files: InboxFiles, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    files.ensure_directory("abc")
    make(tmp_path / "inbox" / "abc" / NAME)
    with suppress(OSError):
        assert files.read("abc", NUMBER) == b""


# -- what others do to the directories --------------------------------------------------------------------------------


def remove(place: Path) -> None:
    shutil.rmtree(place)


def replace(place: Path) -> None:
    place.rename(place.parent / "elsewhere")
    place.mkdir()


@pytest.mark.parametrize("spoil", [remove, replace])
@pytest.mark.parametrize("what", ["inbox", "inbox/abc", "inbox/.tmp"])
def test_the_next_batch_notices_a_removed_or_replaced_directory(
    files: InboxFiles, tmp_path: Path, spoil: Callable[[Path], None], what: str
) -> None:
    put(files)
    spoil(tmp_path / what)
    put(files, number=NUMBER + 1)
    assert (tmp_path / "inbox" / "abc" / f"{NUMBER + 1:016x}.json").read_bytes() == BODY


def by_a_file(place: Path) -> None:
    place.touch()


def by_a_link(place: Path) -> None:
    place.symlink_to(place.parent.parent / "outside", target_is_directory=True)


@pytest.mark.parametrize("spoil", [by_a_file, by_a_link])
@pytest.mark.parametrize("what", ["inbox", "inbox/abc", "inbox/.tmp"])
def test_a_file_or_link_in_place_of_a_directory_is_an_error_until_repaired(
    files: InboxFiles, tmp_path: Path, spoil: Callable[[Path], None], what: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "inbox" / "outside").mkdir()
    put(files)
    (tmp_path / what).rename(tmp_path / "aside")
    spoil(tmp_path / what)
    for _ in range(2):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            put(files, number=NUMBER + 1)
    sync_filesystem(files.inbox_fileno)
    (tmp_path / what).unlink()
    (tmp_path / "aside").rename(tmp_path / what)
    put(files, number=NUMBER + 1)
    assert files.list_ids("abc") == {NUMBER, NUMBER + 1}
    assert [*outside.iterdir()] == []


def test_a_mailbox_that_is_a_link_or_a_file_is_an_error_not_an_empty_one(files: InboxFiles, tmp_path: Path) -> None:
    (tmp_path / "inbox" / "link").symlink_to(tmp_path)
    (tmp_path / "inbox" / "file").touch()
    for name in ("link", "file"):
        for ask in (lambda name=name: files.list_ids(name), lambda name=name: files.read(name, 1)):
            with pytest.raises(OSError):
                ask()
        with pytest.raises(OSError):
            files.remove(name, 1)


@pytest.mark.parametrize("spoil", [by_a_file, by_a_link])
def test_an_inbox_that_is_not_a_directory_prevents_the_start(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    spoil(root / "inbox")
    with pytest.raises(OSError):
        InboxFiles(root)
    assert descriptors() == set()


def test_leftovers_of_an_interrupted_write_are_removed_at_the_start(tmp_path: Path) -> None:
    files = InboxFiles(tmp_path)
    (tmp_path / "inbox" / ".tmp" / format_id(NUMBER)).write_text("half")
    files.close()
    files = InboxFiles(tmp_path)
    assert [*(tmp_path / "inbox" / ".tmp").iterdir()] == []
    files.close()


def test_the_number_of_open_directory_handles_is_bounded(
    files: InboxFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_files, "OPEN_DIRECTORIES", 5)
    for turn in range(2):
        for number in range(40):
            put(files, f"m{number}", NUMBER + turn)
    assert len(descriptors()) <= 5 + 2
    assert all(files.list_ids(f"m{number}") == {NUMBER, NUMBER + 1} for number in range(40))


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
        (1 << 63, "9999-12-31T23:59:59.999Z"),
        (-(1 << 63), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_without_a_date_becomes_the_nearest_that_has_one(milliseconds: int, said: str) -> None:
    body = orjson.loads(encode_inbox_file(1, milliseconds, Draft("a", "b", "c", ttl_ms=1)))
    assert body["timestamp"] == said
    assert len(body["expires_at"]) == len(said)
