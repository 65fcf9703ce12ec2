"""OfflineInbox — reads an agent's inbox files while the daemon is down. It only reads.

Not here: the format of the files (`mailroom.inbox_file`) and their place (`mailroom.inbox_directory`).
Invariant: only a valid name becomes a path, and no link is followed.
"""

__all__ = ["OfflineInbox", "check_name"]

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import orjson
from mailroom.errors import InvalidArgument
from mailroom.inbox_directory import is_mailbox_name, mailbox_directory, message_id_in
from mailroom.inbox_file import InboxFile, decode_inbox_file, read_inbox_file
from mailroom.inbox_file_messages import message_of_file
from mailroom.messages import Inbox, Message


def check_name(name: str, source: str) -> str:
    """Returns the name of an agent.

    Args:
        name: to be checked.
        source: where it comes from, for the error sentence.

    Raises:
        InvalidArgument: AGENT_INVALID.
    """
    if is_mailbox_name(name):
        return name
    raise InvalidArgument(
        f"{source}: {name!r} is not a valid agent name: use 1 to 128 characters of A-Z a-z 0-9 . _ - with at most one "
        "@ (agent@team); neither side may start with a dot",
        reason="AGENT_INVALID",
        field="agent",
    )


class OfflineInbox:
    """The inbox files below one root.

    Args:
        root: holds inbox/.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_of(self, agent: str) -> Path:
        """Returns the directory with an agent's files.

        Raises:
            InvalidArgument: AGENT_INVALID.
        """
        return Path(mailbox_directory(str(self._root), check_name(agent, "agent")))

    def read(self, agent: str, limit: int, is_wanted: Callable[[Message], bool] | None = None) -> Inbox:
        """Returns unread messages of an agent, oldest first; none if it has no directory.

        Args:
            agent: whose mail.
            limit: the maximum number of messages. No file after the first one beyond it is read.
            is_wanted: selects messages; None: all of them.

        Raises:
            InvalidArgument: AGENT_INVALID.
            OSError: inbox/ does not exist, or cannot be read.
        """
        path = self.path_of(agent)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no directory {path.parent}")
        try:
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return Inbox((), more=False)
        try:
            ids = sorted(filter(None, map(message_id_in, os.listdir(directory))))  # noqa: PTH208 - of a descriptor
            files = filter(None, (_read(directory, agent, message_id) for message_id in ids))
            messages = list(islice(filter(is_wanted, map(message_of_file, files)), limit + 1))
        finally:
            os.close(directory)
        return Inbox(tuple(messages[:limit]), more=len(messages) > limit)


def _read(directory: int, agent: str, message_id: str) -> InboxFile | None:
    """Returns a message from its file; None if that is gone, expired, or anything but an inbox file."""
    try:
        raw = read_inbox_file(f"{message_id}.json", dir_fd=directory)
    except (OSError, ValueError):
        return None
    file = decode_inbox_file(raw, agent, message_id, orjson.loads)
    return None if file is None or file.is_expired else file
