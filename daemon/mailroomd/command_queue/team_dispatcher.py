"""TeamInboxDispatcher — submits messages to native team inboxes and reports in time what became of each entry.

Owns the quarter of a second that a sender waits for its entry, and the results that are to be recorded. The entries
are appended in `TeamFiling`'s thread, which wakes the command-queue's loop through a descriptor; nothing here waits
for it. Invariant: each submitted message is settled exactly once, in time, and its last result is recorded.
"""

__all__ = ["STILL_TRYING", "TeamInboxDispatcher"]

import os
import queue
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from mailroomd.protocol.reports import TeamInboxSettled
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox.filing import TeamFiling

ANSWER_AFTER_SEC = 0.25  # how long a sender waits for an inbox that another program has locked
CLOSE_SEC = 2.0  # for waiting entries, at a stop; the next start writes the rest
STILL_TRYING = "not written yet (another program may hold its lock); will be retried"


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
        self._results: dict[int, str] = {}
        self._submitted: dict[int, str] = {}  # without a result yet: their recipients
        self._written: list[tuple[str, int]] = []

    def fileno(self) -> int:
        """Returns the descriptor that becomes readable when `drain_settled` should be called."""
        return self._wake

    @property
    def waiting(self) -> int:
        """How many entries are not written yet."""
        return self._filing.unfinished()

    def due_in_sec(self, now_sec: float) -> float:
        """Returns after how many seconds to call `drain_settled` even if the descriptor is not readable."""
        first = next(iter(self._unsettled.values()), None)
        return 60.0 if first is None else max(0.0, first[0] - now_sec)

    def submit(self, message: StoredMail, now_sec: float) -> None:
        """Submits a message that is committed; returns at once.

        One that is being written, or was, until that is recorded, is not submitted again: its agent may have removed
        the entry already.
        """
        if message.id in self._submitted or self._results.get(message.id) == "":
            return
        self._submitted[message.id] = message.draft.recipient
        self._unsettled[message.id] = (now_sec + ANSWER_AFTER_SEC, message.draft.recipient)
        self._filing.submit(message).add_done_callback(partial(self._on_done, message.id))

    def take_deferred(self) -> list[tuple[str, int]]:
        """Returns (recipient, id): whose missing messages, from this id on, may be submitted now."""
        return self._filing.take_deferred()

    def defer(self, recipient: str, first_id: int) -> None:
        """Records that more of a recipient's messages are missing than were submitted."""
        self._filing.defer(recipient, first_id)

    def is_waiting(self, message_id: int) -> bool:
        """Returns whether a message was submitted and is not settled yet."""
        return message_id in self._unsettled

    def drain_settled(self, now_sec: float) -> list[TeamInboxSettled]:
        """Returns the messages that are settled: their entry is finished, or late."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        settled: list[TeamInboxSettled] = []
        while not self._done.empty():
            message_id, error = self._done.get()
            self._results[message_id] = error
            submitted_to = self._submitted.pop(message_id, None)
            if submitted_to is not None and not error:
                self._written.append((submitted_to, message_id))
            if self._unsettled.pop(message_id, None) is not None:
                settled.append(TeamInboxSettled(message_id, error))
        for message_id, (until_sec, recipient) in list(self._unsettled.items()):
            if until_sec > now_sec:
                break  # they are in the order of their deadlines
            del self._unsettled[message_id]
            error = self._filing.reason(recipient) or STILL_TRYING
            self._results[message_id] = error
            settled.append(TeamInboxSettled(message_id, error))
        return settled

    def drain_written(self) -> list[tuple[str, int]]:
        """Returns (recipient, id) of the entries that were written since the last call."""
        written, self._written = self._written, []
        return written

    def drain_results(self) -> dict[int, str]:
        """Returns the results that are to be recorded, by message id, and forgets them."""
        results, self._results = self._results, {}
        return results

    def requeue_results(self, results: dict[int, str]) -> None:
        """Takes back results that could not be recorded."""
        self._results = results | self._results

    def close(self) -> None:
        """Tries everything that waits once more, then ends."""
        self._filing.close(CLOSE_SEC)
        while not self._done.empty():
            message_id, error = self._done.get()
            self._results[message_id] = error or ""
        os.close(self._wake)

    def _on_done(self, message_id: int, done: "Future[str]") -> None:
        """Runs in the filing's thread."""
        self._done.put((message_id, done.result()))
        os.eventfd_write(self._wake, 1)
