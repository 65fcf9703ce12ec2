"""SessionState — the messages that one session has been shown, so that it does not see a message twice.

Owns the place and the content of `{session}.json` in the sessions' directory: four lists of ids. A file that is broken
counts as empty: mail shown twice is better than mail never shown.
Not here: changing the file (`session_update`).
Bound: only ids that are still unread are kept.
"""

__all__ = ["SessionState", "doorbell_path", "is_watched", "of_agent", "sessions_directory"]

import json
import os
from collections.abc import Iterable

from mailroom.inbox_directory import expand_home


def sessions_directory() -> str:
    """Returns the directory of the session files: `mailroom-sessions` in $XDG_STATE_HOME, or in ~/.local/state.

    Raises:
        NoHomeDirectoryError: it is in the home directory, and there is none.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    state_home = base if base.startswith("/") else expand_home("~/.local/state", "XDG_STATE_HOME")
    return os.path.join(state_home, "mailroom-sessions")


def doorbell_path(session: str) -> str:
    """Returns the file of the session's doorbell (`doorbell_lock`); raises like `sessions_directory`."""
    return f"{sessions_directory()}/{session}.bell"


def of_agent(agent: str) -> str:
    """Returns the name of the doorbell that all sessions of an agent share."""
    return f".agent-{agent}"


def is_watched(session: str) -> bool:
    """Returns whether a doorbell seems to watch for the session. Costs one stat call."""
    try:
        return os.stat(doorbell_path(session)).st_size > 0
    except OSError:
        return False


class SessionState:
    """What one session has been shown.

    Attributes:
        shown: ids of messages whose content was shown.
        counted: ids of messages that were only counted.
        held: ids of urgent messages that have already kept the session from stopping.
        answered: ids of messages that answered the end of a turn. They are shown if the turn goes on (`unseen`).
    """

    __slots__ = ("answered", "counted", "held", "shown")

    def __init__(
        self,
        shown: Iterable[str] = (),
        counted: Iterable[str] = (),
        held: Iterable[str] = (),
        answered: Iterable[str] = (),
    ) -> None:
        self.shown = set(shown)
        self.counted = set(counted)
        self.held = set(held)
        self.answered = set(answered)

    @classmethod
    def read(cls, session: str) -> "SessionState":
        """Returns the state of a session; an empty one if it has none."""
        try:
            with open(f"{sessions_directory()}/{session}.json", "rb") as file:
                stored = json.loads(file.read())
            return cls(stored["shown"], stored["counted"], stored["held"], stored.get("answered", ()))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return cls()

    def encode(self) -> bytes:
        """Returns the content of the session's file."""
        return json.dumps({name: sorted(getattr(self, name)) for name in self.__slots__}).encode()

    def keep_only(self, ids: Iterable[str]) -> None:
        """Drops ids of messages that are no longer unread."""
        kept = set(ids)
        self.shown &= kept
        self.counted &= kept
        self.held &= kept
        self.answered &= kept
