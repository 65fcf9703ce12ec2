"""InboxFile — the content of one inbox file: an unread message as one JSON object.

Owns the format that the daemon writes and that hooks, MCP server and agents read: keys, types, what is optional, the
size limit. The sender's fields are those of `mailroom.message_fields`; `mailroom.inbox_file_encoder` is the writer.
Other programs may write to these directories, so a reader takes nothing for granted: a file that is torn, too large, a
link, a pipe or not a message is skipped until it is one. Not here: where the files are (`mailroom.inbox_directory`).
Invariant: importing this module imports nothing slow, because `mailroom hook` does (collections.abc, json, os, stat and
time only).
"""

__all__ = [
    "FILE_FIELDS",
    "ID_KEY",
    "KIND_KEY",
    "MAILBOX_KEY",
    "MAX_FILE_BYTES",
    "MESSAGE",
    "REQUIRED",
    "TIMESTAMP_KEY",
    "InboxFile",
    "decode_inbox_file",
    "read_inbox_file",
]

import json
import os
import stat
import time
from collections.abc import Callable

from mailroom.message_fields import FIELDS, PRIORITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_FILE_BYTES = 16 << 20  # 1 MiB of content can become 6 MiB of JSON; the rest leaves room for metadata
KIND_KEY, MESSAGE = "type", "message"  # in every file
ID_KEY, TIMESTAMP_KEY = "id", "timestamp"  # what the daemon adds
MAILBOX_KEY = FIELDS[0].key  # the recipient; a reader trusts the directory instead

FILE_FIELDS: "dict[str, tuple[str, type]]" = {  # key -> attribute of InboxFile, type of its value
    ID_KEY: ("id", str),
    TIMESTAMP_KEY: ("timestamp", str),
    **{field.key: (field.shown, field.kind.file_type) for field in FIELDS[1:]},
}
REQUIRED = frozenset((ID_KEY, "from", "content"))  # a value of the wrong type counts as absent
_ABSENT = {"timestamp": ""} | {field.shown: field.absent_in_file for field in FIELDS[1:] if field.key not in REQUIRED}


class InboxFile:
    """One unread message.

    Attributes:
        id: 16 lowercase hex digits, the file's name.
        mailbox: the mailbox whose directory holds the file, whatever the file says.
        sender: the sender's name.
        content: up to 1 MiB of UTF-8.
        timestamp: when the daemon accepted it, ISO 8601 in UTC with milliseconds; empty if unknown.
        type: "text" unless the sender said otherwise.
        metadata: a JSON object.
        thread_id: empty if none.
        in_reply_to: id of the message that this one answers; empty if none.
        priority: one of PRIORITIES.
        expires_at: when it expires, written like `timestamp`; empty for never.
        sender_verified: whether the sender proved its name with a token of its own.
        reply_by: by when the sender wants an answer, written like `timestamp`; empty if it named no time.
    """

    __slots__ = ("content", "id", "mailbox", "sender", *_ABSENT)
    id: str
    mailbox: str
    sender: str
    content: str
    timestamp: str
    type: str
    metadata: dict[str, object]
    thread_id: str
    in_reply_to: str
    priority: str
    expires_at: str
    sender_verified: bool
    reply_by: str

    def __init__(self, *, id: str, mailbox: str, sender: str, content: str, **optional: object) -> None:  # noqa: A002
        """Makes a message; the optional arguments are the other attributes."""
        self.id = id
        self.mailbox = mailbox
        self.sender = sender
        self.content = content
        for attribute, absent in _ABSENT.items():
            setattr(self, attribute, optional.pop(attribute, absent))
        if optional:
            raise TypeError(f"an InboxFile has no {', '.join(optional)}")
        self.metadata = self.metadata or {}  # never the table's own
        if self.priority not in PRIORITIES:
            self.priority = "normal"

    @property
    def is_urgent(self) -> bool:
        """Whether its sender called it urgent."""
        return self.priority == "urgent"

    @property
    def is_expired(self) -> bool:
        """Whether its time to live is over. Times of this format sort as text."""
        now = time.time()
        now_text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
        return bool(self.expires_at) and self.expires_at <= now_text


def decode_inbox_file(
    raw: bytes, mailbox: str, message_id: str, loads: "Callable[[bytes], Any]" = json.loads
) -> InboxFile | None:
    """Returns the message in a file; None if the bytes are not a whole message with this id.

    Args:
        raw: the file's content.
        mailbox: whose directory the file is in.
        message_id: the id in the file's name.
        loads: the JSON parser; `json.loads` is the one that a hook can afford to import.
    """
    try:
        body = loads(raw)
    except (ValueError, RecursionError):
        return None
    if not _is_object(body):
        return None
    values: dict[str, Any] = {
        key: body[key] for key, (_, kind) in FILE_FIELDS.items() if isinstance(body.get(key), kind)
    }
    if not values.keys() >= REQUIRED or values[ID_KEY] != message_id:
        return None
    return InboxFile(mailbox=mailbox, **{FILE_FIELDS[key][0]: value for key, value in values.items()})


def _is_object(value: object) -> bool:  # a function, because narrowing the type would need `typing`: milliseconds
    return isinstance(value, dict)


def read_inbox_file(path: str, *, dir_fd: int | None = None) -> bytes:
    """Returns the content of an inbox file.

    Args:
        path: where it is; relative to `dir_fd`, if that is given.
        dir_fd: an open directory.

    Raises:
        OSError: it is gone, a link, or unreadable.
        ValueError: it is not a regular file, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise ValueError(f"{path} is not an inbox file")
        return file.read(MAX_FILE_BYTES)
