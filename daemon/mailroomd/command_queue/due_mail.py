"""DueMail — messages that are due at a moment: looks for them when the next one is, and at least once a minute.

Owns one timer for one kind of event. It looks again when its event is committed, because there may be more than one
page. Not here: what is due (`MessageStore`), sequence ids and commits (`LocalEvents`).
"""

__all__ = ["PAGE", "POLL_SEC", "DueMail"]

from collections.abc import Callable, Iterable

from mailroomd.protocol.local_events import MailExpired, MailOverdue

PAGE = 200  # messages in one transaction: some 5 ms
POLL_SEC = 60.0  # even if the next one is known to be later: the clock may have been set


class DueMail:
    """Looks for messages that are due.

    Args:
        event: the kind of event that they become.
        find: returns the ids of those that are due at a moment, milliseconds since 1970, up to a limit.
        next_ms: returns when the next one is; None if there is none.
    """

    def __init__(
        self,
        event: type[MailExpired | MailOverdue],
        find: Callable[[int, int], list[int]],
        next_ms: Callable[[], int | None],
    ) -> None:
        self.event = event
        self._find = find
        self._find_next_ms = next_ms
        self._next_ms = 0
        self._poll_at_sec = 0.0
        self._set_aside: set[int] = set()

    def schedule(self, due_ms: int) -> None:
        """Takes a new message into account, which is due at this moment."""
        self._next_ms = min(self._next_ms, due_ms)

    def look_again(self) -> None:
        """Makes the next `poll` look at once."""
        self._poll_at_sec = 0.0

    def set_aside(self, message_ids: Iterable[int]) -> None:
        """Leaves messages alone until the next start: their event cannot be executed."""
        self._set_aside.update(message_ids)

    def poll(self, now_sec: float, now_ms: int) -> tuple[MailExpired | MailOverdue | None, float]:
        """Returns the event of the messages that are due now, and for how many seconds none will be."""
        if now_ms >= self._next_ms or now_sec >= self._poll_at_sec:
            self._poll_at_sec = now_sec + POLL_SEC
            found = self._find(now_ms, PAGE + len(self._set_aside))
            due = tuple(message_id for message_id in found if message_id not in self._set_aside)
            if due:
                return self.event(due), POLL_SEC
            next_ms = None if self._set_aside else self._find_next_ms()
            self._next_ms = now_ms + int(POLL_SEC * 1000) if next_ms is None else next_ms
        return None, max(0.0, (self._next_ms - now_ms) / 1000)
