"""FullInboxes — the team inboxes that had no room for a message, until they have become shorter.

Owns when the messages that were refused are tried again: as soon as the file has become shorter, which costs one stat
at each look, and in any case after ten minutes, as others may have filled up what its agent removed. Such a *pass*
begins with the first of them and goes on in slices. A sender that is refused in it is not tried again before the next
pass, as each attempt reads the whole file. Not here: messages that wait (`TeamFiling`, which guards this object with
its lock).
"""

__all__ = ["FullInboxes"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailroomd.storage.database.message_store import StoredMail

LOOK_SEC = 10.0
RETRY_SEC = 600.0


@dataclass(slots=True)
class _Full:
    """One inbox.

    Attributes:
        first_id: of the messages that were refused since the pass began; 0 if none was.
        look_sec: when to look at the file again, on the monotonic clock.
        retry_sec: when to try again in any case.
        size_bytes: of the file at the last look.
        is_in_pass: whether a pass is under way.
        next_id: where the pass goes on; 0 if nothing is left of it.
        senders: whose messages were refused since the pass began.
    """

    first_id: int = 0
    look_sec: float = 0.0
    retry_sec: float = 0.0
    size_bytes: int = 0
    is_in_pass: bool = False
    next_id: int = 0
    senders: set[str] = field(default_factory=set[str])


class FullInboxes:
    """Remembers full inboxes by recipient."""

    def __init__(self) -> None:
        self._full: dict[str, _Full] = {}

    def on_refused(self, recipient: str, mail: Iterable[StoredMail], size_bytes: int, now_sec: float) -> None:
        """Records that an inbox had no room for messages.

        Args:
            recipient: of the messages.
            mail: the messages.
            size_bytes: how large the file is.
            now_sec: monotonic seconds.
        """
        full = self._full.setdefault(recipient, _Full())
        for message in mail:
            full.first_id = min(full.first_id or message.id, message.id)
            full.senders.add(message.draft.sender)
        full.size_bytes, full.look_sec, full.retry_sec = size_bytes, now_sec + LOOK_SEC, now_sec + RETRY_SEC

    def refuses(self, message: StoredMail) -> bool:
        """Returns whether a message that is submitted again need not be tried, as its sender was refused already."""
        full = self._full.get(message.draft.recipient)
        if full is None or message.draft.sender not in full.senders:
            return False
        full.first_id = min(full.first_id, message.id)
        return True

    def take_due(
        self, now_sec: float, is_busy: Callable[[str], bool], size_of: Callable[[str], int]
    ) -> list[tuple[str, int]]:
        """Returns (recipient, id) of the inboxes whose missing messages, from this id on, may be submitted now.

        Args:
            now_sec: monotonic seconds.
            is_busy: whether other messages of a recipient come first.
            size_of: returns how large an inbox's file is.
        """
        ready: list[tuple[str, int]] = []
        for recipient, full in list(self._full.items()):
            if is_busy(recipient):
                continue
            if full.next_id:
                ready.append((recipient, full.next_id))
                full.next_id = 0
            elif not full.first_id:
                del self._full[recipient]
            elif now_sec >= full.look_sec and _may_try(full, now_sec, size_of(recipient)):
                ready.append((recipient, full.first_id))
                self._full[recipient] = _Full(is_in_pass=True)
            else:
                full.is_in_pass = False
        return ready

    def continue_pass(self, recipient: str, next_id: int) -> bool:
        """Records where the pass through a recipient's messages goes on; returns False if none is under way."""
        full = self._full.get(recipient)
        if full is None or not full.is_in_pass:
            return False
        full.next_id = next_id
        return True

    def end_pass(self, recipient: str) -> None:
        """Ends a recipient's pass: other messages come first."""
        if recipient in self._full:
            self._full[recipient].is_in_pass = False


def _may_try(full: _Full, now_sec: float, size_bytes: int) -> bool:
    """Takes a look at the file."""
    is_shorter = size_bytes < full.size_bytes
    full.size_bytes, full.look_sec = size_bytes, now_sec + LOOK_SEC
    return is_shorter or now_sec >= full.retry_sec
