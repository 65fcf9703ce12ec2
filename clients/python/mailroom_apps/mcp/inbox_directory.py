"""InboxDirectory — reads the inbox files of an agent while the daemon is down. It only reads.

Source of the format: the daemon's inbox files, `{root}/inbox/{agent}/{id}.json`, one JSON object each. What is in that
directory and is no whole inbox file is passed over.
Invariant: a name that is no agent's name is never made a path, and no link is followed.
"""

__all__ = ["InboxDirectory", "check_name", "default_root"]

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson
from mailroom.addresses import expand_home
from mailroom.errors import InvalidArgument
from mailroom.messages import Message
from mailroom.states import DeliveryState, Priority

MAX_NAME_CHARS = 128
LARGEST_FILE_BYTES = 16 << 20  # twice what a message can become as JSON

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:@(?!\.)[A-Za-z0-9._-]+)?")
_FILE = re.compile(r"[0-9a-f]{16}\.json")


def check_name(name: str, what: str) -> str:
    """Returns the name of an agent.

    Raises:
        InvalidArgument: it is none; `what` says where it comes from.
    """
    if len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name):
        return name
    raise InvalidArgument(
        f"{what}: {name!r} is no agent's name: 1 to 128 characters of A-Z a-z 0-9 . _ -, at most one @ (agent@team), "
        "neither side of it starting with a dot",
        reason="AGENT_INVALID",
        field="agent",
    )


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the directory that agents see: MAILROOM_ROOT, else ~/.claude."""
    return expand_home(environ.get("MAILROOM_ROOT") or "~/.claude")


class InboxDirectory:
    """The inbox files below one root.

    Args:
        root: holds inbox/.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_of(self, agent: str) -> Path:
        """Returns where the files of an agent are.

        Raises:
            InvalidArgument: AGENT_INVALID.
        """
        return self._root / "inbox" / check_name(agent, "agent")

    def read(self, agent: str) -> list[Message]:
        """Returns the unread messages of an agent, oldest first; none where it has no directory.

        Raises:
            InvalidArgument: AGENT_INVALID.
            OSError: there is no inbox/ at all, or it can't be read.
        """
        path = self.path_of(agent)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no directory {path.parent}")
        try:
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        try:
            names = sorted(filter(_FILE.fullmatch, os.listdir(directory)))  # noqa: PTH208 - of a handle
            found = [_read(directory, name) for name in names]
        finally:
            os.close(directory)
        return [message for message in found if message is not None]


def _read(directory: int, name: str) -> Message | None:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:  # its agent has taken it meanwhile, or it is a link
        return None
    with os.fdopen(handle, "rb") as file:
        raw = file.read(LARGEST_FILE_BYTES + 1)
    return _message(raw, name.removesuffix(".json"))


def _message(raw: bytes, message_id: str) -> Message | None:
    try:
        body: Any = orjson.loads(raw)
        if not isinstance(body, dict):
            return None
        fields = cast("dict[str, Any]", body)
        return Message(
            id=message_id,
            recipient=str(fields["session_id"]),
            sender=str(fields["from"]),
            content=str(fields["content"]),
            type=str(fields.get("message_type", "text")),
            timestamp=_moment(fields["timestamp"]),
            read=False,
            metadata=dict(fields.get("metadata") or {}),
            thread_id=fields.get("thread_id"),
            in_reply_to=fields.get("in_reply_to"),
            priority=Priority(fields.get("priority", "normal")),
            expires_at=_moment(fields.get("expires_at")),
            state=DeliveryState.FILED,
            sender_verified=False,
        )
    except (ValueError, TypeError, KeyError):  # somebody else's file, or one that was torn by a power cut
        return None


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) else None
