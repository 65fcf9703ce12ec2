"""A damaged row is reported as damage, not as mail."""

from typing import Any

import pytest
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.connection import DamagedRow
from mailroomd.storage.database.rows import INSERT_MESSAGE, MESSAGE_COLUMNS, message_of, row_of

COLUMNS = MESSAGE_COLUMNS.split(", ")
ROW = dict(zip(COLUMNS, (7, 1000, 3, "abc", "dashboard", "go", "text", '{"turn":1}', "", 0, 2, 0, 0, 0), strict=True))


def test_a_row_comes_back_as_its_message() -> None:
    found = message_of(tuple(ROW.values()))
    assert (found.id, found.draft.content, found.draft.metadata) == (7, "go", b'{"turn":1}')


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("recipient", b"abc"),
        ("content", None),
        ("metadata", '{"turn":1'),
        ("metadata", '["turn"]'),
        ("metadata", ""),
        ("metadata", b'{"turn":1}'),
        ("priority", "high"),
        ("timestamp_ms", 1.5),
        ("state", 77),
        ("verified", "yes"),
    ],
)
def test_a_row_with_wrong_content_is_damaged(column: str, value: Any) -> None:
    with pytest.raises(DamagedRow, match="message 7"):
        message_of(tuple((ROW | {column: value}).values()))


def test_every_column_of_a_new_row_has_the_value_of_its_name() -> None:
    sample = Draft("bob", "amy", "text", "kind", b'{"a":1}', "thread", 5, 3, 60_000, verified=True, reply_by_ms=9000)
    columns = INSERT_MESSAGE.split("(")[1].split(")")[0].split(", ")
    assert dict(zip(columns, row_of(7, 1000, sample, 2000, "being written"), strict=True)) == {
        "id": 7,
        "recipient": "bob",
        "sender": "amy",
        "content": "text",
        "type": "kind",
        "metadata": b'{"a":1}',
        "thread_id": "thread",
        "in_reply_to": 5,
        "priority": 3,
        "ttl_ms": 60_000,
        "timestamp_ms": 1000,
        "state": DeliveryState.FILED,
        "verified": True,
        "reply_by_ms": 9000,
        "filed_ms": 2000,
        "filed_id": 8,
        "team_error": "being written",
    }
