"""Rows — converts a message to a row of the database and back."""

__all__ = ["INSERT_MESSAGE", "MESSAGE_COLUMNS", "message_of", "row_of"]

from typing import Any

import orjson

from mailroomd.model.message import Draft, Message
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.connection import DamagedRow

MESSAGE_COLUMNS = (
    "id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority, ttl_ms, timestamp_ms, state,"
    " verified"
)
_NEW_MESSAGE_COLUMNS = f"{MESSAGE_COLUMNS}, filed_ms, filed_id, team_error"
INSERT_MESSAGE = (
    f"INSERT INTO messages ({_NEW_MESSAGE_COLUMNS})"  # noqa: S608 - own text
    f" VALUES ({', '.join('?' for _ in _NEW_MESSAGE_COLUMNS.split(','))})"
)

_STATES = frozenset(state.value for state in DeliveryState)


def row_of(message_id: int, timestamp_ms: int, draft: Draft, filed_ms: int, team_error: str) -> tuple[Any, ...]:
    """Returns a new message's row: FILED, which only a failed file write corrects."""
    return (
        message_id,
        draft.recipient,
        draft.sender,
        draft.content,
        draft.type,
        draft.metadata.decode(),
        draft.thread_id,
        draft.in_reply_to,
        draft.priority,
        draft.ttl_ms,
        timestamp_ms,
        DeliveryState.FILED.value,
        draft.verified,
        filed_ms,
        message_id + 1,
        team_error,
    )


def message_of(row: tuple[Any, ...]) -> Message:
    """Returns the message of a row of `MESSAGE_COLUMNS`.

    Raises:
        DamagedRow: the row does not hold what the daemon writes.
    """
    message_id, recipient, sender, content, kind, metadata, thread_id, in_reply_to, priority, *rest = row
    ttl_ms, timestamp_ms, state, verified = rest
    texts = (recipient, sender, content, kind, metadata, thread_id)
    numbers = (message_id, in_reply_to, priority, ttl_ms, timestamp_ms)
    has_types = all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)
    if not (has_types and state in _STATES and _is_object(metadata)):
        raise DamagedRow(f"the row of message {message_id!r} is damaged")
    draft = Draft(
        recipient,
        sender,
        content,
        kind,
        metadata.encode(),
        thread_id,
        in_reply_to,
        priority,
        ttl_ms,
        bool(verified),
    )
    return Message(message_id, timestamp_ms, DeliveryState(state), draft)


def _is_object(text: str) -> bool:
    if text == "{}":
        return True
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
