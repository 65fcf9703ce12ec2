"""A damaged row is reported as damage, not as mail."""

from typing import Any

import pytest
from mailroomd.storage.database.connection import DamagedRow
from mailroomd.storage.database.rows import message_of

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
