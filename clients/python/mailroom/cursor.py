"""Cursor — where a subscription stands, so that it can be resumed without a gap and without a repeat.

Pure. Positions are event ids, which sort in delivery order. A replay of unread messages cannot be resumed by position
(what lies behind it may have been read already), so until it is over the ids that were yielded are remembered instead,
and the replay is asked for again.
Invariant: the position moves when an event is admitted, that is, right before it is yielded.
"""

__all__ = ["BEGINNING", "Cursor"]

from mailroom.events import CaughtUp, CommandResponse, GoingAway, Receipt
from mailroom.messages import Message

BEGINNING = "0" * 16  # before every event


class Cursor:
    """The place of one subscription.

    Args:
        after_id: start behind this event.
        include_unread: start with the unread messages.
        caught_up: whether CaughtUp is to be yielded.
    """

    def __init__(self, *, after_id: str | None = None, include_unread: bool = False, caught_up: bool = False) -> None:
        self.after_id = after_id
        self.include_unread = include_unread
        self._yields_caught_up = caught_up
        self._yielded: set[str] = set()

    def admits(self, event: Message | Receipt | CommandResponse | CaughtUp) -> bool:
        """Moves to the event and returns whether it is to be yielded: it is new, and it is wanted."""
        if isinstance(event, CaughtUp):
            self._catch_up(event.last_id)
            return self._yields_caught_up
        if self.include_unread:
            return self._admits_unread(event.event_id)
        if self.after_id is not None and event.event_id <= self.after_id:
            return False
        self.after_id = event.event_id
        return True

    def go_away(self, event: GoingAway) -> None:
        """Notes the place from which the daemon wants to be asked again."""
        if event.last_id and not self.include_unread:
            self.after_id = max(self.after_id or BEGINNING, event.last_id)

    def _admits_unread(self, event_id: str) -> bool:
        new = event_id not in self._yielded
        self._yielded.add(event_id)
        return new

    def _catch_up(self, last_id: str) -> None:
        self.after_id = max(self.after_id or BEGINNING, last_id, *self._yielded)
        self.include_unread = False
        self._yielded.clear()
