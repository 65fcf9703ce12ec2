"""Memory — what one session has been shown, so that it never sees a message twice by accident.

Owns `{session}.json` in the sessions' directory: three lists of ids. A file that is broken counts as empty: mail shown
twice is better than mail never shown. Not here: writing it (`keeper`).
Bounds: only ids that are still unread are kept.
"""

__all__ = ["Memory", "bell_path", "is_watched", "sessions_directory"]

import json
import os
from collections.abc import Iterable

from mailroom_apps.hooks.event import UsageError


def sessions_directory() -> str:
    """Returns where the memories are: `mailroom-sessions` in $XDG_STATE_HOME, or in ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.local/state")
    if not base.startswith("/"):  # expanduser leaves ~ as it is if there is no home directory
        raise UsageError("there is no home directory to remember what was shown: set HOME or XDG_STATE_HOME")
    return os.path.join(base, "mailroom-sessions")


def bell_path(session: str) -> str:
    """Returns the file of the session's doorbell (`watch_lock`)."""
    return f"{sessions_directory()}/{session}.bell"


def is_watched(session: str) -> bool:
    """Returns whether a doorbell seems to watch for the session; costs one look at a file's size."""
    try:
        return os.stat(bell_path(session)).st_size > 0
    except OSError:
        return False


class Memory:
    """What one session knows.

    Attributes:
        shown: ids whose content it has seen.
        counted: ids that it has been told of, without their content.
        held: ids of urgent messages that have kept it from stopping once.
    """

    __slots__ = ("counted", "held", "shown")

    def __init__(self, shown: Iterable[str] = (), counted: Iterable[str] = (), held: Iterable[str] = ()) -> None:
        self.shown = set(shown)
        self.counted = set(counted)
        self.held = set(held)

    @classmethod
    def read(cls, session: str) -> "Memory":
        """Reads the memory of a session; an empty one where there is none."""
        try:
            with open(f"{sessions_directory()}/{session}.json", "rb") as file:
                stored = json.loads(file.read())
            return cls(stored["shown"], stored["counted"], stored["held"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return cls()

    def encode(self) -> bytes:
        """Returns the content of its file."""
        lists = {"shown": sorted(self.shown), "counted": sorted(self.counted), "held": sorted(self.held)}
        return json.dumps(lists).encode()

    def forget_all_but(self, ids: Iterable[str]) -> None:
        """Drops what is no longer unread."""
        kept = set(ids)
        self.shown &= kept
        self.counted &= kept
        self.held &= kept
