"""Inbox file — one message as the JSON object that its recipient finds in its inbox directory.

Owns the format (pipeline.md, row 3; UC-0052): `type`, `from`, `content`, `message_type`, `metadata`, `id`,
`session_id`, `timestamp`, and whatever else the message has. Not here: where and how it is written (`InboxFiles`).
"""

__all__ = ["encode_inbox_file", "is_whole_inbox_file"]

from datetime import UTC, datetime
from typing import Any, cast

import orjson

from mailroomd.model.ids import format_id
from mailroomd.model.message import Draft, Priority


def encode_inbox_file(number: int, timestamp_ms: int, draft: Draft) -> bytes:
    """Returns the file's content: one JSON object, one line."""
    body: dict[str, Any] = {
        "type": "message",
        "id": format_id(number),
        "from": draft.sender,
        "session_id": draft.recipient,
        "timestamp": _iso_8601(timestamp_ms),
        "message_type": draft.type,
        "content": draft.content,
        "metadata": orjson.Fragment(draft.metadata),
    }
    if draft.thread_id:
        body["thread_id"] = draft.thread_id
    if draft.in_reply_to:
        body["in_reply_to"] = format_id(draft.in_reply_to)
    if draft.priority != Priority.NORMAL:
        body["priority"] = Priority(draft.priority).name.lower()
    if draft.ttl_ms:
        body["expires_at"] = _iso_8601(timestamp_ms + draft.ttl_ms)
    if draft.verified:
        body["sender_verified"] = True
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)


def is_whole_inbox_file(raw: bytes, number: int) -> bool:
    """Returns whether these bytes are a whole inbox file of this message (its agent may have added to it)."""
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and cast("dict[str, Any]", body).get("id") == format_id(number)


def _iso_8601(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
