"""Cursor — the position of a subscription, from which it is resumed without gaps and without repeats.

Pure. Positions are event ids, which sort in delivery order. A replay of unread messages cannot be resumed by position,
because a later message may have been read already. Until the replay is over, the cursor therefore remembers the ids
that were yielded, and the replay is requested again.
Invariant: the position moves when an event is admitted, that is, right before it is yielded.
"""

__all__ = ["BEGINNING", "Cursor"]

from mailroom.events import CaughtUp, CommandResponse, GoingAway, UnknownEvent
from mailroom.messages import Message
from mailroom.receipts import Receipt

BEGINNING = "0" * 16  # before every event


class Cursor:
    """The position of one subscription.

    Args:
        after_id: start after this event.
        include_unread: start with the unread messages.
        caught_up: whether CaughtUp events are yielded.
    """

    def __init__(self, *, after_id: str | None = None, include_unread: bool = False, caught_up: bool = False) -> None:
        self.after_id = after_id
        self.include_unread = include_unread
        self._yields_caught_up = caught_up
        self._yielded: set[str] = set()

    def admit(self, event: Message | Receipt | CommandResponse | CaughtUp | UnknownEvent) -> bool:
        """Moves to the event and returns whether it is to be yielded: it is new, and its kind is wanted."""
        if isinstance(event, CaughtUp):
            self._finish_replay(event.last_id)
            return self._yields_caught_up
        return self._move_to(event.event_id) and not isinstance(event, UnknownEvent)

    def record_going_away(self, event: GoingAway) -> None:
        """Moves to the position from which the stopping daemon wants to be resumed."""
        if event.last_id and not self.include_unread:
            self.after_id = max(self.after_id or BEGINNING, event.last_id)

    def _move_to(self, event_id: str) -> bool:
        if self.include_unread:
            return self._admit_unread(event_id)
        if self.after_id is not None and event_id <= self.after_id:
            return False
        self.after_id = event_id
        return True

    def _admit_unread(self, event_id: str) -> bool:
        is_new = event_id not in self._yielded
        self._yielded.add(event_id)
        return is_new

    def _finish_replay(self, last_id: str) -> None:
        """Moves to the end of the replay, even backwards: an `after_id` that the daemon never issued has no effect."""
        self.after_id = max(BEGINNING, last_id, *self._yielded)
        self.include_unread = False
        self._yielded.clear()
