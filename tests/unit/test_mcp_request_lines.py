"""Lines that are not JSON-RPC messages are answered with an error, with the id of the request if one can be read."""

import json
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroom_apps.mcp.request_lines import error_for

CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "x", "arguments": {}}}
LINE = json.dumps(CALL)

PARSE, INVALID = types.PARSE_ERROR, types.INVALID_REQUEST
BROKEN = [
    (LINE.replace('"x"', '"cut \\ud83d"'), PARSE, 2),
    ("\ufeff" + LINE, PARSE, 2),
    (LINE.replace("{}", '{"n": ' + "9" * 5000 + "}"), PARSE, 2),
    (LINE.replace("{}", "[" * 100_000), PARSE, 2),
    (LINE[:-9], PARSE, 2),
    (LINE.replace("2,", '"a-b",', 1)[:-1], PARSE, "a-b"),
    ('{"params": {"id": 7}, "id": 2, "method"', PARSE, 2),
    ('{"params": {"id": 7}, "method"', PARSE, None),
    ('{"id": "\\ud83d", "method": "x"}', PARSE, None),
    ("hello", PARSE, None),
    ("[]", INVALID, None),
    (f"[{LINE}]", INVALID, None),
    ('{"id": 2}', INVALID, 2),
    ('{"jsonrpc": "2.0", "id": 2, "method": 5}', INVALID, 2),
    ('{"jsonrpc": "2.0", "id": 2, "method": "x", "params": [1]}', INVALID, 2),
    ('{"jsonrpc": "2.0", "id": 1.5, "method": "x"}', INVALID, None),
    ('{"jsonrpc": "2.0", "id": null, "method": "x"}', INVALID, None),
    ('{"jsonrpc": "2.0", "id": true, "method": "x"}', INVALID, None),
]


@pytest.mark.parametrize(("line", "code", "request_id"), BROKEN)
def test_a_broken_line_is_answered_with_its_id(line: str, code: int, request_id: int | str | None) -> None:
    error = error_for(line)
    assert error is not None
    assert (error.error.code, error.id) == (code, request_id)
    assert error.error.message
    assert json.loads(error.model_dump_json(by_alias=True, exclude_unset=True))["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    "message",
    [
        CALL,
        {**CALL, "id": "a"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"id": 1}},
        {"jsonrpc": "2.0", "id": 3, "result": {}},
        {"jsonrpc": "2.0", "id": 3, "error": {"code": 1, "message": "no"}},
    ],
)
def test_a_valid_message_is_passed_on(message: dict[str, Any]) -> None:
    assert error_for(json.dumps(message)) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(LINE) - 1), st.text(max_size=3))
def test_a_damaged_line_is_a_message_or_gets_an_error_that_can_be_written(position: int, inserted: str) -> None:
    error = error_for(LINE[:position] + inserted.replace("\n", "") + LINE[position + len(inserted) :])
    if error is not None:
        assert error.id in (None, 2) or isinstance(error.id, int | str)
        error.model_dump_json(by_alias=True, exclude_unset=True).encode()
