"""InboxFileEncoder — writes the format of `mailroom.inbox_file`: one message as one line of JSON.

The daemon is the writer. A module of its own, because orjson is too slow to import for a hook.
Not here: how the file gets to the disk (`mailroomd.storage.inbox.files`).
"""

__all__ = ["encode_inbox_file", "is_whole_inbox_file"]

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Protocol

import orjson

from mailroom.inbox_file import ID_KEY, KIND_KEY, MAILBOX_KEY, MESSAGE, TIMESTAMP_KEY, decode_inbox_file
from mailroom.message_fields import (
    FLAG,
    LIFETIME,
    MESSAGE_ID,
    MOMENT,
    OPTIONAL_FIELDS,
    PRIORITIES,
    PRIORITY,
    TEXT,
    Kind,
)

_EARLIEST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
_LATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


class _Draft(Protocol):
    """What every file has of the daemon's `Draft`."""

    @property
    def recipient(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def metadata(self) -> bytes: ...


def encode_inbox_file(message_id: int, timestamp_ms: int, draft: _Draft) -> bytes:
    """Returns the content of a message's inbox file: one JSON object on one line.

    Args:
        message_id: the message's id.
        timestamp_ms: when the daemon accepted it, in milliseconds since 1970.
        draft: the message as its sender gave it; `metadata` is a JSON object already.
    """
    body: dict[str, Any] = {
        KIND_KEY: MESSAGE,
        ID_KEY: f"{message_id:016x}",
        "from": draft.sender,
        MAILBOX_KEY: draft.recipient,
        TIMESTAMP_KEY: _iso_8601(timestamp_ms),
        "message_type": draft.type,
        "content": draft.content,
        "metadata": orjson.Fragment(draft.metadata),
    }
    values = _optional_values(draft)
    if values != _ABSENT:
        for (key, to_json), value, absent in zip(_OPTIONAL_KEYS, values, _ABSENT, strict=True):
            if value != absent:
                body[key] = to_json(value, timestamp_ms)
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)


def is_whole_inbox_file(raw: bytes, message_id: int) -> bool:
    """Returns whether these bytes are a whole inbox file of this message. Its agent may have added keys to it."""
    return decode_inbox_file(raw, "", f"{message_id:016x}", orjson.loads) is not None


def _iso_8601(milliseconds: int) -> str:
    """Returns a time as text; one that has no date of four digits, from a damaged row, becomes the nearest that has."""
    seconds, rest = divmod(max(_EARLIEST_MS, min(milliseconds, _LATEST_MS)), 1000)
    return f"{_iso_8601_of_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=64)  # most messages of a commit arrived in the same second
def _iso_8601_of_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


def _same(value: Any, _: int) -> Any:
    return value


def _priority(number: int, _: int) -> str:
    return PRIORITIES[number - 1]


_TO_JSON: dict[Kind, Callable[[Any, int], Any]] = {  # of a value in a message that was accepted at this time
    TEXT: _same,
    MESSAGE_ID: lambda message_id, _: f"{message_id:016x}",
    PRIORITY: _priority,
    LIFETIME: lambda milliseconds, timestamp_ms: _iso_8601(timestamp_ms + milliseconds),
    MOMENT: lambda milliseconds, _: _iso_8601(milliseconds),
    FLAG: _same,
}
_OPTIONAL_KEYS = tuple((field.key, _TO_JSON[field.kind]) for field in OPTIONAL_FIELDS)
_ABSENT = tuple(field.absent for field in OPTIONAL_FIELDS)
_optional_values = attrgetter(*(field.stored for field in OPTIONAL_FIELDS))
