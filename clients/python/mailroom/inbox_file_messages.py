"""inbox_file_messages — a message of the SDK as an inbox file, and the other way round.

For readers that get mail from the daemon or from its files, and treat both alike. Not here: bytes
(`mailroom.inbox_file`, `mailroom.inbox_file_encoder`).
"""

__all__ = ["file_of_message", "message_of_file"]

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mailroom.inbox_file import InboxFile
from mailroom.message_fields import (
    FIELDS,
    FLAG,
    LIFETIME,
    MESSAGE_ID,
    MOMENT,
    NAME,
    OBJECT,
    PRIORITY,
    TEXT,
    Kind,
)
from mailroom.messages import Message
from mailroom.records import iso_utc
from mailroom.states import DeliveryState, Priority


def message_of_file(file: InboxFile) -> Message:
    """Returns the message in an inbox file, which is unread."""
    fields: dict[str, Any] = {shown: from_file(getattr(file, shown)) for shown, from_file, _ in _CONVERSIONS}
    return Message(
        id=file.id,
        recipient=file.mailbox,
        timestamp=_moment(file.timestamp),
        read=False,
        state=DeliveryState.FILED,
        **fields,
    )


def file_of_message(message: Message) -> InboxFile:
    """Returns a message as its inbox file has it."""
    fields: dict[str, Any] = {shown: to_file(getattr(message, shown)) for shown, _, to_file in _CONVERSIONS}
    return InboxFile(id=message.id, mailbox=message.recipient, timestamp=_text(message.timestamp), **fields)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:  # empty, or written by another program
        return None


def _text(moment: datetime | None) -> str:
    return iso_utc(moment) if moment else ""


def _same(value: Any) -> Any:
    return value


def _or_none(text: str) -> str | None:
    return text or None


def _or_empty(text: str | None) -> str:
    return text or ""


_BY_KIND: dict[Kind, tuple[Callable[[Any], object], Callable[[Any], object]]] = {  # from a file, to a file
    NAME: (_same, _same),
    TEXT: (_same, _same),
    OBJECT: (_same, _same),
    MESSAGE_ID: (_or_none, _or_empty),
    PRIORITY: (Priority, str),
    LIFETIME: (_moment, _text),
    MOMENT: (_moment, _text),
    FLAG: (_same, _same),
}
_CONVERSIONS = tuple(
    (field.shown, *((_or_none, _or_empty) if field.kind is TEXT and field.is_optional else _BY_KIND[field.kind]))
    for field in FIELDS[1:]
)
