"""InboxFileEncoder — writes the format of `mailroom.inbox_file`: one message as one line of JSON.

The daemon is the writer. A module of its own, because orjson is too slow to import for a hook.
Not here: how the file gets to the disk (`mailroomd.storage.inbox.files`).
"""

__all__ = ["encode_inbox_file", "is_whole_inbox_file"]

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import orjson

from mailroom.inbox_file import MESSAGE, PRIORITIES, Key, decode_inbox_file

_EARLIEST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
_LATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


class _Draft(Protocol):
    """What the encoder needs of a message: the daemon's `Draft`."""

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
    @property
    def thread_id(self) -> str: ...
    @property
    def in_reply_to(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def ttl_ms(self) -> int: ...
    @property
    def verified(self) -> bool: ...


def encode_inbox_file(message_id: int, timestamp_ms: int, draft: _Draft) -> bytes:
    """Returns the content of a message's inbox file: one JSON object on one line.

    Args:
        message_id: the message's id.
        timestamp_ms: when the daemon accepted it, in milliseconds since 1970.
        draft: the message as its sender gave it; `metadata` is a JSON object already.
    """
    body: dict[str, Any] = {
        Key.KIND: MESSAGE,
        Key.ID: f"{message_id:016x}",
        Key.SENDER: draft.sender,
        Key.MAILBOX: draft.recipient,
        Key.TIMESTAMP: _iso_8601(timestamp_ms),
        Key.TYPE: draft.type,
        Key.CONTENT: draft.content,
        Key.METADATA: orjson.Fragment(draft.metadata),
    }
    if draft.thread_id:
        body[Key.THREAD_ID] = draft.thread_id
    if draft.in_reply_to:
        body[Key.IN_REPLY_TO] = f"{draft.in_reply_to:016x}"
    if (priority := PRIORITIES[draft.priority - 1]) != "normal":
        body[Key.PRIORITY] = priority
    if draft.ttl_ms:
        body[Key.EXPIRES_AT] = _iso_8601(timestamp_ms + draft.ttl_ms)
    if draft.verified:
        body[Key.SENDER_VERIFIED] = True
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
