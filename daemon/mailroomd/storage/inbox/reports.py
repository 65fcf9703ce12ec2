"""Reports — what the watch of the inbox directories has to say: files that agents took, directories that were lost."""

__all__ = ["GONE", "INBOX_REPLACED", "REPLACED", "DirectoryFault", "Report", "Taken", "unreadable"]

from dataclasses import dataclass

GONE = "its directory is gone"
REPLACED = "its directory was replaced"
INBOX_REPLACED = "inbox/ is gone or was replaced"


@dataclass(frozen=True, slots=True)
class Taken:
    """An agent deleted or moved away files of its unread messages: it has read them."""

    mailbox: str
    message_ids: list[int]


@dataclass(frozen=True, slots=True)
class DirectoryFault:
    """A mailbox with unread messages lost its directory: none of them counts as read, each must be filed again.

    Until `InboxWatch.on_refiled` is called, only further faults of the mailbox are reported.
    """

    mailbox: str
    reason: str


Report = Taken | DirectoryFault


def unreadable(error: OSError) -> str:
    """Returns the reason of a fault whose directory cannot be read."""
    return f"its directory cannot be read: {error.strerror}"
