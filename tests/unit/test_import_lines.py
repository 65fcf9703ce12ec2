"""Every line of an import is checked before the first message is sent."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroom_apps.cli.import_messages import (
    _drop_settled_deadlines,  # pyright: ignore[reportPrivateUsage]
    _parse_lines,  # pyright: ignore[reportPrivateUsage]
)

GOOD: dict[str, Any] = {"id": "0198c0ffee000001", "recipient": "bob", "sender": "amy", "content": "c"}
ISO = "2026-11-22T23:06:50.123Z"


def parse(*lines: object) -> list[str]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return [entry.message_id for entry in _parse_lines(text.encode("utf-8", "surrogatepass"))]


def test_valid_lines_are_parsed_and_empty_ones_skipped() -> None:
    full = {**GOOD, "timestamp": ISO, "expires_at": "2026-11-23T23:06:50+01:00", "read": True, "metadata": {"a": [1]}}
    nulls = dict.fromkeys(("type", "thread_id", "in_reply_to", "priority", "timestamp", "expires_at", "metadata"))
    assert parse(GOOD, "", {**full, "priority": "high"}, {**GOOD, **nulls}, "  ") == [GOOD["id"]] * 3
    assert parse({**GOOD, "content": "a\u2028b\x85c"}) == [GOOD["id"]]


def test_a_deadline_is_kept_only_if_it_was_open_when_the_file_was_exported() -> None:
    hour = [f"2026-11-22T{number:02}:00:00.000Z" for number in range(24)]
    ids = [f"0198c0ffee00000{number}" for number in range(5)]
    lines = [
        {**GOOD, "id": ids[0], "timestamp": hour[1], "reply_by": hour[9]},
        {**GOOD, "id": ids[1], "timestamp": hour[1], "reply_by": hour[3]},  # over: a message is later
        {**GOOD, "id": ids[2], "timestamp": hour[1], "reply_by": hour[9]},  # answered by the next
        {**GOOD, "id": ids[3], "timestamp": hour[4], "in_reply_to": ids[2]},
    ]
    entries = list(_parse_lines("\n".join(map(json.dumps, lines)).encode()))
    _drop_settled_deadlines(entries)
    assert [bool(entry.draft.options.get("reply_by")) for entry in entries] == [True, False, False, False]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("no json", "not JSON"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('"' + "x" * 10, "not JSON"),
        ("1" * 5000, "not"),
        ("[" * 100_000, "not JSON"),
        ({"id": "x"}, "recipient is missing"),
        ({**GOOD, "id": 5}, "id is not a string"),
        ({**GOOD, "content": None}, "content is not a string"),
        ({**GOOD, "content": "x" * 1_048_577}, "(limit "),
        ({**GOOD, "type": 5}, "type is not a string"),
        ({**GOOD, "thread_id": ["t"]}, "thread_id is not a string"),
        ({**GOOD, "priority": "asap"}, "not a priority"),
        ({**GOOD, "priority": 2}, "priority is not a string"),
        ({**GOOD, "metadata": [1]}, "metadata is not an object"),
        ({**GOOD, "metadata": {"n": 2**60}}, "metadata contains"),
        ({**GOOD, "read": "yes"}, "read is not a boolean"),
        ({**GOOD, "expires_at": 5}, "expires_at is not a string"),
        ({**GOOD, "reply_by": "soon"}, "reply_by is not a time"),
        ({**GOOD, "expires_at": "soon"}, "expires_at is not a time"),
        ({**GOOD, "expires_at": "2026-11-22T23:06:50"}, "expires_at has no time zone"),
        ({**GOOD, "timestamp": ISO, "expires_at": ISO}, "expires_at is not after timestamp"),
        ({**GOOD, "timestamp": "9999-12-31T23:59:59-23:59"}, None),
    ],
)
def test_an_invalid_line_is_named_with_its_problem(line: object, problem: str | None) -> None:
    if problem is None:
        assert parse(line) == [GOOD["id"]]
        return
    with pytest.raises(OSError, match=r"^line 2 is not a valid message: .*; nothing was imported$") as caught:
        parse(GOOD, line)
    assert problem in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [*GOOD, "type", "metadata", "thread_id", "in_reply_to", "priority", "timestamp", "expires_at", "read"]
)


@given(st.dictionaries(names, values))
def test_any_line_is_valid_or_an_error_of_one_sentence(changes: dict[str, object]) -> None:
    with suppress(OSError):  # every other exception would be a traceback of the command
        parse({**GOOD, **changes})


def key_of(line: dict[str, Any]) -> str:
    (entry,) = _parse_lines(json.dumps(line).encode())
    key = entry.draft.options.get("idempotency_key")
    assert key
    return key


def test_a_repeated_import_has_the_same_key_and_another_daemons_message_another() -> None:
    key = key_of({**GOOD, "timestamp": ISO, "metadata": {"a": 1, "b": 2}})
    assert key == key_of({"read": True, "metadata": {"b": 2, "a": 1}, "timestamp": ISO, **GOOD})
    others = [
        {**GOOD, "timestamp": ISO},
        {**GOOD, "timestamp": "2026-11-22T23:06:50.124Z", "metadata": {"a": 1, "b": 2}},
        {**GOOD, "timestamp": ISO, "metadata": {"a": 1, "b": 2}, "content": "d"},
        {**GOOD, "timestamp": ISO, "metadata": {"a": 1, "b": 2}, "recipient": "carl"},
    ]
    keys = {key_of(line) for line in others}
    assert len(keys) == len(others)
    assert key not in keys
    assert all(len(one) == len(key) for one in keys)


def test_metadata_that_is_too_deep_is_named() -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(OSError, match=r"line 1 is not a valid message: .*nested"):
        parse({**GOOD, "metadata": deep})
