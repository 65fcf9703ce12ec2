"""The format of an inbox file: the golden files are the promise to agents that read them, and to older daemons."""

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from mailroom.inbox_file import (
    FILE_FIELDS,
    ID_KEY,
    KIND_KEY,
    MAILBOX_KEY,
    MAX_FILE_BYTES,
    REQUIRED,
    InboxFile,
    decode_inbox_file,
    read_inbox_file,
)
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroom.inbox_file_messages import file_of_message, message_of_file
from mailroom.message_fields import PRIORITIES
from mailroomd.model.message import Draft, Priority

MESSAGE_ID = 0x0198_C0FF_EE00_0001
ID_TEXT = "0198c0ffee000001"
ACCEPTED_MS = 1_764_000_000_123

SMALLEST = Draft("bob", "amy", "go")
LARGEST = Draft(
    recipient="bob@team",
    sender="amy",
    content='line one\n"quoted" ü 😀',
    type="note",
    metadata=b'{"a":[1,2.5,null],"n":12345678901234567890}',
    thread_id="pr-7",
    in_reply_to=MESSAGE_ID - 1,
    priority=Priority.URGENT,
    ttl_ms=60_000,
    verified=True,
    reply_by_ms=ACCEPTED_MS + 3_600_000,
)
GOLDEN = {
    "smallest": (
        SMALLEST,
        '{"type":"message","id":"0198c0ffee000001","from":"amy","session_id":"bob",'
        '"timestamp":"2025-11-24T16:00:00.123Z","message_type":"text","content":"go","metadata":{}}\n',
    ),
    "largest": (
        LARGEST,
        '{"type":"message","id":"0198c0ffee000001","from":"amy","session_id":"bob@team",'
        '"timestamp":"2025-11-24T16:00:00.123Z","message_type":"note",'
        '"content":"line one\\n\\"quoted\\" ü 😀","metadata":{"a":[1,2.5,null],"n":12345678901234567890},'
        '"thread_id":"pr-7","in_reply_to":"0198c0ffee000000","priority":"urgent",'
        '"expires_at":"2025-11-24T16:01:00.123Z","sender_verified":true,"reply_by":"2025-11-24T17:00:00.123Z"}\n',
    ),
}


def attributes_of(file: InboxFile | None) -> dict[str, Any]:
    assert file is not None
    return {attribute: getattr(file, attribute) for attribute in InboxFile.__slots__}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_encoded_file_is_the_golden_file(name: str) -> None:
    draft, golden = GOLDEN[name]
    assert encode_inbox_file(MESSAGE_ID, ACCEPTED_MS, draft).decode() == golden


def test_every_field_of_the_table_is_encoded_and_decoded() -> None:
    raw = GOLDEN["largest"][1].encode()
    assert set(json.loads(raw)) == {*FILE_FIELDS, KIND_KEY, MAILBOX_KEY}
    assert attributes_of(decode_inbox_file(raw, "bob@team", ID_TEXT, orjson.loads)) == {
        "id": ID_TEXT,
        "mailbox": "bob@team",
        "sender": "amy",
        "content": 'line one\n"quoted" ü 😀',
        "timestamp": "2025-11-24T16:00:00.123Z",
        "type": "note",
        "metadata": {"a": [1, 2.5, None], "n": 12345678901234567890},
        "thread_id": "pr-7",
        "in_reply_to": "0198c0ffee000000",
        "priority": "urgent",
        "expires_at": "2025-11-24T16:01:00.123Z",
        "sender_verified": True,
        "reply_by": "2025-11-24T17:00:00.123Z",
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_a_file_becomes_a_message_of_the_sdk_and_comes_back_as_it_was(name: str) -> None:
    file = decode_inbox_file(GOLDEN[name][1].encode(), GOLDEN[name][0].recipient, ID_TEXT, orjson.loads)
    assert file is not None
    message = message_of_file(file)
    assert (message.recipient, message.read, message.event_id) == (file.mailbox, False, ID_TEXT)
    assert attributes_of(file_of_message(message)) == attributes_of(file)


def test_absent_fields_have_the_defaults_of_a_draft() -> None:
    file = decode_inbox_file(GOLDEN["smallest"][1].encode(), "bob", ID_TEXT)
    assert file is not None
    assert (file.type, file.priority, file.metadata) == (SMALLEST.type, "normal", {})
    assert (file.thread_id, file.in_reply_to, file.expires_at, file.reply_by) == ("", "", "", "")
    assert not file.sender_verified


@pytest.mark.parametrize("key", [key for key in FILE_FIELDS if key not in REQUIRED])
@pytest.mark.parametrize("value", [None, 7, ["x"], "no such priority"])
def test_a_value_of_the_wrong_type_counts_as_absent(key: str, value: object) -> None:
    attribute, kind = FILE_FIELDS[key]
    if isinstance(value, kind) and key != "priority":
        return
    body = {ID_KEY: ID_TEXT, "from": "amy", "content": "go"}
    without = attributes_of(decode_inbox_file(orjson.dumps(body), "bob", ID_TEXT))
    assert attributes_of(decode_inbox_file(orjson.dumps({**body, key: value}), "bob", ID_TEXT)) == without, attribute


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_file_without_a_required_field_is_not_a_message(key: str) -> None:
    body = {ID_KEY: ID_TEXT, "from": "amy", "content": "go"}
    assert decode_inbox_file(orjson.dumps(body), "bob", ID_TEXT) is not None
    assert decode_inbox_file(orjson.dumps({**body, key: None}), "bob", ID_TEXT) is None


@pytest.mark.parametrize("raw", [b"", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"id": "0198c0ffee000002"}'])
def test_bytes_that_are_not_a_message_decode_to_none(raw: bytes) -> None:
    assert decode_inbox_file(raw, "bob", ID_TEXT) is None
    assert decode_inbox_file(raw, "bob", ID_TEXT, orjson.loads) is None


def test_the_directory_names_the_mailbox_whatever_the_file_says() -> None:
    file = decode_inbox_file(GOLDEN["smallest"][1].encode(), "carl", ID_TEXT)
    assert file is not None
    assert file.mailbox == "carl"


def test_priorities_have_the_numbers_of_the_contract() -> None:
    assert [name.upper() for name in PRIORITIES] == [Priority(number).name for number in range(1, 5)]


def test_a_file_above_the_limit_a_link_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match="not an inbox file"):
        read_inbox_file(str(large))
    link = tmp_path / "link.json"
    link.symlink_to(large)
    with pytest.raises(OSError, match="symbolic"):
        read_inbox_file(str(link))
    os.mkfifo(pipe := tmp_path / "pipe.json")
    with pytest.raises(ValueError, match="not an inbox file"):
        read_inbox_file(str(pipe))
