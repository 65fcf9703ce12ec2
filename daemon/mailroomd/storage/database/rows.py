"""Rows — converts a message to a row of the database and back.

Owns the columns of `messages` that hold the message itself: one for each field of `mailroom.message_fields`, and what
the daemon adds. Not here: the columns for its later steps (`message_steps`), the tables (`schema`).
"""

__all__ = ["INSERT_MESSAGE", "MESSAGE_COLUMNS", "departing_row_of", "message_of", "row_of"]

from collections.abc import Callable
from typing import Any

import orjson
from mailroom.generated import generate
from mailroom.message_fields import FIELDS, FLAG, OBJECT, Kind

from mailroomd.model.message import Draft, Message
from mailroomd.model.states import MESSAGE_STATES, DeliveryState
from mailroomd.storage.database.connection import DamagedRow

_FIELD_COLUMNS = tuple(field.stored for field in FIELDS)
MESSAGE_COLUMNS = ", ".join(("id", "timestamp_ms", "state", *_FIELD_COLUMNS))
_STEPS_OF_NEW = ("filed_ms", "filed_id", "team_error")
_PLACEHOLDERS = (
    "?",
    "?",
    "?",
    *("CAST(? AS TEXT)" if field.kind is OBJECT else "?" for field in FIELDS),
    "?",
    "?",
    "?",
)
INSERT_MESSAGE = (
    f"INSERT INTO messages ({MESSAGE_COLUMNS}, {', '.join(_STEPS_OF_NEW)})"  # noqa: S608 - own text
    f" VALUES ({', '.join(_PLACEHOLDERS)})"
)

_TYPES = (int, int, int, *(str if field.kind.column_type == "TEXT" else int for field in FIELDS))
_OBJECTS = tuple(index for index, field in enumerate(FIELDS) if field.kind is OBJECT)
_FROM_COLUMN: dict[Kind, Callable[[Any], object]] = {OBJECT: str.encode, FLAG: bool}
_CONVERTED = tuple(
    (index, _FROM_COLUMN[field.kind]) for index, field in enumerate(FIELDS) if field.kind in _FROM_COLUMN
)


_row_of = generate(
    f"""def row_of(message_id, timestamp_ms, draft, filed_ms, team_error):
    return (
        message_id, timestamp_ms, {DeliveryState.FILED:d}, {", ".join(f"draft.{column}" for column in _FIELD_COLUMNS)},
        filed_ms, message_id + 1, team_error,
    )
""",
    {},
)


def row_of(message_id: int, timestamp_ms: int, draft: Draft, filed_ms: int, team_error: str) -> tuple[Any, ...]:
    """Returns a new message's row, for INSERT_MESSAGE: FILED, which only a failed file write corrects."""
    return _row_of(message_id, timestamp_ms, draft, filed_ms, team_error)


def departing_row_of(message_id: int, timestamp_ms: int, draft: Draft) -> tuple[Any, ...]:
    """Returns the row of a new message for another host, for INSERT_MESSAGE: STORED, without an inbox file."""
    first, second, _, *rest = _row_of(message_id, timestamp_ms, draft, 0, "")
    return (first, second, DeliveryState.STORED.value, *rest[:-2], 0, "")


def message_of(row: tuple[Any, ...]) -> Message:
    """Returns the message of a row of `MESSAGE_COLUMNS`.

    Raises:
        DamagedRow: the row does not hold what the daemon writes.
    """
    message_id, timestamp_ms, state, *values = row
    has_types = tuple(map(type, row)) == _TYPES
    if not (has_types and state in MESSAGE_STATES and all(_is_object(values[index]) for index in _OBJECTS)):
        raise DamagedRow(f"the row of message {message_id!r} is damaged")
    for index, convert in _CONVERTED:
        values[index] = convert(values[index])
    return Message(message_id, timestamp_ms, DeliveryState(state), Draft(*values))


def _is_object(text: str) -> bool:
    if text == "{}":
        return True
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
