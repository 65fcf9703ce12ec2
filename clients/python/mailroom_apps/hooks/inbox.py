"""Inbox — which unread messages have a file in an agent's inbox directories, by name alone: no file is opened.

Source of the layout: `{root}/inbox/{mailbox}/{id}.json`; ids are 16 hex digits that sort in delivery order.
Not here: what is in the files (`letters`).
"""

__all__ = ["Unread", "list_unread"]

import os

Unread = dict[str, str]  # id -> mailbox

_NAME_CHARS = len("0123456789abcdef.json")
_HEX = frozenset("0123456789abcdef")


def list_unread(root: str, mailboxes: tuple[str, ...]) -> Unread:
    """Returns the ids of the unread messages of some mailboxes; a directory that is not there is an empty one.

    Raises:
        OSError: a directory is there but cannot be read.
    """
    found: Unread = {}
    for mailbox in mailboxes:
        try:
            names = os.listdir(f"{root}/inbox/{mailbox}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if len(name) == _NAME_CHARS and name.endswith(".json") and _HEX.issuperset(name[:16]):
                found[name[:16]] = mailbox
    return found
