"""InboxDirectory — where the inbox files of a mailbox are: `{root}/inbox/{mailbox}/{id}.json`.

Owns this layout for readers, the rule for mailbox names and the default root. Message ids are 16 lowercase hex digits
and sort in delivery order. Not here: the content of a file (`mailroom.inbox_file`).
Invariant: importing this module imports nothing slow (`os` and `collections.abc` only), because `mailroom hook` runs at
every tool call.
"""

__all__ = [
    "ID_MS_SHIFT",
    "NoHomeDirectoryError",
    "claude_directory",
    "default_root",
    "expand_home",
    "is_mailbox_name",
    "list_unread",
    "mailbox_directory",
    "message_id_in",
]

import os
from collections.abc import Iterable, Mapping

MAX_NAME_CHARS = 128
ID_MS_SHIFT = 20  # an id is milliseconds since 1970, shifted by its node and counter
SUFFIX = ".json"

_ID_CHARS = 16
_HEX = frozenset("0123456789abcdef")
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class NoHomeDirectoryError(OSError):
    """A path starts with ~, but this user has no home directory."""


def expand_home(path: str, variable: str) -> str:
    """Returns a path with ~ replaced by the home directory; never one that still starts with ~.

    Args:
        path: any path.
        variable: what the user can set instead, for the error sentence.

    Raises:
        NoHomeDirectoryError: there is no such home directory (HOME is not set, and the user has no passwd entry).
    """
    expanded = os.path.expanduser(path)  # noqa: PTH111 - pathlib is slow to import
    if expanded.startswith("~"):
        raise NoHomeDirectoryError(f"there is no home directory for {path}: set HOME or {variable}")
    return expanded


def claude_directory(environ: Mapping[str, str] = os.environ) -> str:
    """Returns Claude Code's directory, in which agents look for mail: CLAUDE_CONFIG_DIR, otherwise ~/.claude.

    Raises:
        NoHomeDirectoryError: it is in the home directory, and there is none.
    """
    return expand_home(environ.get("CLAUDE_CONFIG_DIR") or "~/.claude", "MAILROOM_ROOT")


def default_root(environ: Mapping[str, str] = os.environ) -> str:
    """Returns the directory that holds inbox/: MAILROOM_ROOT, otherwise Claude Code's directory.

    Raises:
        NoHomeDirectoryError: it is in the home directory, and there is none.
    """
    if root := environ.get("MAILROOM_ROOT"):
        return expand_home(root, "MAILROOM_ROOT")
    return claude_directory(environ)


def is_mailbox_name(text: str) -> bool:
    """Returns whether the text is a valid mailbox name, AGENT or AGENT@TEAM: the contract's rule.

    A valid name has 1 to 128 characters of A-Z a-z 0-9 . _ - with at most one @; neither side starts with a dot.
    """
    sides = text.split("@")
    is_sound = all(side and side[0] != "." and _NAME_CHARS.issuperset(side) for side in sides)
    return is_sound and len(sides) <= 2 and len(text) <= MAX_NAME_CHARS


def mailbox_directory(root: str, mailbox: str) -> str:
    """Returns the directory of a mailbox; the name must be valid."""
    return f"{root}/inbox/{mailbox}"


def message_id_in(name: str) -> str | None:
    """Returns the message id in the name of an inbox file; None for any other name."""
    message_id = name[:_ID_CHARS]
    is_ours = len(name) == _ID_CHARS + len(SUFFIX) and name.endswith(SUFFIX) and _HEX.issuperset(message_id)
    return message_id if is_ours else None


def list_unread(root: str, mailboxes: Iterable[str]) -> dict[str, str]:
    """Returns the ids of all unread messages of some mailboxes, each with its mailbox. No file is opened.

    A directory that does not exist counts as empty.

    Raises:
        OSError: a directory exists but cannot be read.
    """
    unread: dict[str, str] = {}
    for mailbox in mailboxes:
        try:
            names = os.listdir(mailbox_directory(root, mailbox))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if message_id := message_id_in(name):
                unread[message_id] = mailbox
    return unread
