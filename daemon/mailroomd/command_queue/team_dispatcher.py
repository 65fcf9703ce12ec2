"""TeamInboxDispatcher — the command-queue's side of the native team inboxes: hands messages over, says in time what came of it.

Owns the quarter of a second that a sender waits for its entry, and the results that are to be noted. The appending
runs in `TeamFiling`'s thread, which wakes the command-queue's loop through a descriptor; nothing here ever waits for
it. Invariant: each message that was submitted is settled exactly once, in time, and its last result is noted.
"""

__all__ = ["STILL_TRYING", "TeamInboxDispatcher"]

import os
import queue
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from mailroomd.protocol.commands import TeamInboxSettled
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox.filing import TeamFiling

ANSWER_AFTER_SEC = 0.25  # what a sender waits for an inbox that somebody else has locked
CLOSE_SEC = 2.0  # for what waits, at a stop; the rest is done at the next start
STILL_TRYING = "it is not written yet (somebody else may hold its lock); it is tried again"


class TeamInboxDispatcher:
    """Submits messages and settles them.

    Args:
        filing: appends to the inboxes.
    """

    def __init__(self, filing: TeamFiling) -> None:
        self._filing = filing
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._done: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._unsettled: dict[int, tuple[float, str]] = {}
        self._notes: dict[int, str] = {}

    def fileno(self) -> int:
        """Returns the descriptor that is readable when `settled` should be called."""
        return self._wake

    @property
    def waiting(self) -> int:
        """How many entries are not written yet."""
        return self._filing.unfinished()

    def due(self, now_sec: float) -> float:
        """Returns after how many seconds to call `settled`, whatever the descriptor says."""
        first = next(iter(self._unsettled.values()), None)
        return 60.0 if first is None else max(0.0, first[0] - now_sec)

    def submit(self, message: StoredMail, now_sec: float) -> None:
        """Takes a message that is committed; returns at once."""
        self._unsettled[message.id] = (now_sec + ANSWER_AFTER_SEC, message.draft.recipient)
        self._filing.submit(message).add_done_callback(partial(self._note_done, message.id))

    def take_deferred(self) -> list[tuple[str, int]]:
        """Returns (recipient, id): whose missing messages, from this id on, may be submitted now."""
        return self._filing.take_deferred()

    def defer(self, recipient: str, first_id: int) -> None:
        """Records that more of a recipient's messages are missing than were submitted."""
        self._filing.defer(recipient, first_id)

    def is_waiting(self, message_id: int) -> bool:
        """Returns whether a message was submitted and is not settled yet."""
        return message_id in self._unsettled

    def settled(self, now_sec: float) -> list[TeamInboxSettled]:
        """Returns what is settled by now: done, or late."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        found: list[TeamInboxSettled] = []
        while not self._done.empty():
            number, error = self._done.get()
            self._notes[number] = error
            if self._unsettled.pop(number, None) is not None:
                found.append(TeamInboxSettled(number, error))
        for number, (until_sec, recipient) in list(self._unsettled.items()):
            if until_sec > now_sec:
                break  # they are in the order of their times
            del self._unsettled[number]
            error = self._filing.reason(recipient) or STILL_TRYING
            self._notes[number] = error
            found.append(TeamInboxSettled(number, error))
        return found

    def take_notes(self) -> dict[int, str]:
        """Returns the results that are to be noted, by message id, and forgets them."""
        notes, self._notes = self._notes, {}
        return notes

    def put_notes_back(self, notes: dict[int, str]) -> None:
        """Takes back results that could not be noted."""
        self._notes = notes | self._notes

    def close(self) -> None:
        """Tries everything that waits once more, then ends."""
        self._filing.close(CLOSE_SEC)
        while not self._done.empty():
            number, error = self._done.get()
            self._notes[number] = error or ""
        os.close(self._wake)

    def _note_done(self, number: int, done: "Future[str]") -> None:
        """Runs in the filing's thread."""
        self._done.put((number, done.result()))
        os.eventfd_write(self._wake, 1)
