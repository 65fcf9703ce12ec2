"""A damaged row is reported as damage, not as mail."""

from typing import Any

import pytest
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.connection import DamagedRow
from mailroomd.storage.database.rows import INSERT_MESSAGE, MESSAGE_COLUMNS, message_of, row_of

ROW = (7, "abc", "dashboard", "go", "text", '{"turn":1}', "", 0, 2, 0, 1000, 3, 0)


def test_a_row_comes_back_as_its_message() -> None:
    found = message_of(ROW)
    assert (found.id, found.draft.content, found.draft.metadata) == (7, "go", b'{"turn":1}')


@pytest.mark.parametrize(
    ("column", "value"),
    [(1, b"abc"), (3, None), (5, '{"turn":1'), (5, '["turn"]'), (5, ""), (8, "high"), (10, 1.5), (11, 77)],
)
def test_a_row_with_wrong_content_is_damaged(column: int, value: Any) -> None:
    with pytest.raises(DamagedRow, match="message 7"):
        message_of((*ROW[:column], value, *ROW[column + 1 :]))


def test_every_column_of_a_new_row_has_the_value_of_its_name() -> None:
    sample = Draft("bob", "amy", "text", "kind", b'{"a":1}', "thread", 5, 3, 60_000, verified=True)
    columns = INSERT_MESSAGE.split("(")[1].split(")")[0].split(", ")
    assert dict(zip(columns, row_of(7, 1000, sample, 2000, "being written"), strict=True)) == {
        "id": 7,
        "recipient": "bob",
        "sender": "amy",
        "content": "text",
        "type": "kind",
        "metadata": '{"a":1}',
        "thread_id": "thread",
        "in_reply_to": 5,
        "priority": 3,
        "ttl_ms": 60_000,
        "timestamp_ms": 1000,
        "state": DeliveryState.FILED,
        "verified": True,
        "filed_ms": 2000,
        "filed_id": 8,
        "team_error": "being written",
    }


def test_every_field_of_a_draft_is_in_its_row() -> None:
    assert set(Draft.__struct_fields__) <= {column.strip() for column in MESSAGE_COLUMNS.split(",")}
