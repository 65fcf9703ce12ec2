"""Invalid input is refused with its reason and its field; the limits themselves are allowed."""

from typing import Any

import msgspec
import pytest
from mailroomd.core.validation import check_agent, check_draft, check_key, check_session, parse_message_id
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_CONTENT_BYTES, MAX_METADATA_BYTES, MAX_TTL_MS
from mailroomd.model.message import Draft

GOOD = Draft("abc", "dashboard", "go")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"content": ""},
        {"content": "x" * MAX_CONTENT_BYTES},
        {"content": "€" * (MAX_CONTENT_BYTES // 3)},
        {"type": "t" * 128},
        {"thread_id": "é" * 64},
        {"metadata": b"x" * MAX_METADATA_BYTES},
        {"ttl_ms": MAX_TTL_MS},
        {"reply_by_ms": 1},
        {"recipient": "lead@core", "sender": "a" * 128},
        {"recipient": "lead@core:build7"},
        {"priority": 1},
        {"priority": 4},
    ],
)
def test_a_draft_up_to_the_limits_passes(change: dict[str, Any]) -> None:
    check_draft(msgspec.structs.replace(GOOD, **change))


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"recipient": "../x"}, Reason.RECIPIENT_INVALID, "recipient"),
        ({"recipient": ""}, Reason.RECIPIENT_INVALID, "recipient"),
        ({"recipient": "bob:Build7"}, Reason.RECIPIENT_INVALID, "recipient"),
        ({"sender": ""}, Reason.SENDER_INVALID, "sender"),
        ({"sender": "bob:build7"}, Reason.SENDER_INVALID, "sender"),
        ({"content": "x" * (MAX_CONTENT_BYTES + 1)}, Reason.CONTENT_TOO_LARGE, "content"),
        ({"content": "€" * (MAX_CONTENT_BYTES // 3 + 1)}, Reason.CONTENT_TOO_LARGE, "content"),
        ({"type": "é" * 65}, Reason.TYPE_TOO_LONG, "type"),
        ({"thread_id": "x" * 129}, Reason.THREAD_ID_TOO_LONG, "thread_id"),
        ({"metadata": b"x" * (MAX_METADATA_BYTES + 1)}, Reason.METADATA_TOO_LARGE, "metadata"),
        ({"ttl_ms": -1}, Reason.TTL_INVALID, "ttl"),
        ({"ttl_ms": MAX_TTL_MS + 1}, Reason.TTL_INVALID, "ttl"),
        ({"reply_by_ms": -1}, Reason.REPLY_BY_INVALID, "reply_by"),
        ({"reply_by_ms": 1 << 60}, Reason.REPLY_BY_INVALID, "reply_by"),
        ({"priority": 0}, Reason.PRIORITY_INVALID, "priority"),
        ({"priority": 5}, Reason.PRIORITY_INVALID, "priority"),
    ],
)
def test_a_draft_that_may_not_enter_is_refused_with_reason_and_field(
    change: dict[str, Any], reason: Reason, field: str
) -> None:
    with pytest.raises(MailroomError) as refused:
        check_draft(msgspec.structs.replace(GOOD, **change))
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert len(refused.value.sentence) < 400


@pytest.mark.parametrize("key", ["k", "0b2b8bcb-3f8a-4c59-b5e6-0f0a6e1f2c11", "~" * 128, "with space"])
def test_printable_keys_pass(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["x" * 129, "é", "a\n", "\0", "\x7f"])
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(MailroomError) as refused:
        check_key(key)
    assert refused.value.reason is Reason.IDEMPOTENCY_KEY_INVALID


def test_an_agent_that_is_no_name_is_refused_in_the_field_that_named_it() -> None:
    check_agent("abc")
    with pytest.raises(MailroomError) as refused:
        check_session("a/b")
    assert (refused.value.reason, refused.value.field) == (Reason.SESSION_INVALID, "session")


def test_a_message_id_is_parsed_or_refused_with_the_reason_that_fits() -> None:
    assert parse_message_id("00000000000000ff", "after_id") == 255
    with pytest.raises(MailroomError) as refused:
        parse_message_id("x" * 1000, "after_id", Reason.AFTER_ID_INVALID)
    assert (refused.value.reason, refused.value.field) == (Reason.AFTER_ID_INVALID, "after_id")
    assert len(refused.value.sentence) < 200
