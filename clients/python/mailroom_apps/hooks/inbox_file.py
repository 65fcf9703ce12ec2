"""InboxFile — one unread message as its inbox file tells it.

Source of the format: the daemon's inbox files: `from`, `content`, `message_type`, `priority`, `thread_id`,
`in_reply_to`, `metadata`, `expires_at`. Others may write there too, so nothing is taken for granted: a file that is
torn, huge, a link, a pipe or no message is left alone until it is one.
Not here: what of it is safe to show (`report`).
"""

__all__ = ["InboxFile", "read_inbox_file"]

import json
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

MAX_FILE_BYTES = 16 << 20  # 1 MiB of content may become 6 MiB as JSON; the rest is metadata and generosity
URGENT = b'"urgent"'  # a file without these bytes need not be parsed to know that it is not


@dataclass(frozen=True, slots=True)
class InboxFile:
    """One message, as it may be shown."""

    id: str
    mailbox: str
    sender: str
    content: str
    type: str = "text"
    priority: str = "normal"
    thread_id: str = ""
    in_reply_to: str = ""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def read_inbox_file(root: str, mailbox: str, message_id: str, *, urgent_only: bool = False) -> InboxFile | None:
    """Returns the message in an inbox file; None for one that is gone, expired, broken, or not urgent if asked."""
    with suppress(OSError, ValueError, RecursionError):
        raw = _read(f"{root}/inbox/{mailbox}/{message_id}.json")
        if urgent_only and URGENT not in raw:
            return None
        body = json.loads(raw)
        if not _is_message(body, message_id) or _is_expired(body.get("expires_at")):
            return None
        letter = _letter(body, mailbox)
        return letter if letter.priority == "urgent" or not urgent_only else None
    return None


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise ValueError(f"{path} is no inbox file")
        return file.read()


def _is_message(body: object, message_id: str) -> bool:
    if not isinstance(body, dict):
        return False
    said = cast("dict[str, object]", body)
    return said.get("id") == message_id and isinstance(said.get("from"), str) and isinstance(said.get("content"), str)


def _is_expired(moment: object) -> bool:
    """Returns whether a time (ISO 8601 in UTC, as the daemon writes it: it sorts as text) is over, to the second."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    return isinstance(moment, str) and moment[: len(now)] < now


def _letter(body: dict[str, Any], mailbox: str) -> InboxFile:
    metadata = body.get("metadata")
    return InboxFile(
        id=body["id"],
        mailbox=mailbox,
        sender=body["from"],
        content=body["content"],
        type=_text(body, "message_type", "text"),
        priority=_text(body, "priority", "normal"),
        thread_id=_text(body, "thread_id"),
        in_reply_to=_text(body, "in_reply_to"),
        metadata=cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {},
    )


def _text(body: dict[str, Any], name: str, default: str = "") -> str:
    value = body.get(name)
    return value if isinstance(value, str) else default
