"""PendingDeliveryMarks — deliveries to readers, until they are submitted to the command-queue.

Owns the delay of a tenth of a second in which a mark waits for another command, so that a busy mailbox spends no
transaction on marks alone. Pure: the caller passes in monotonic seconds. Not here: the states in the mailbox table.
"""

__all__ = ["PendingDeliveryMarks"]

import math

MAX_DELAY_SEC = 0.1  # also how much later a sender's receipt may arrive
MAX_IDS = 1000  # of one mailbox in one command: keeps packets and transactions small


class PendingDeliveryMarks:
    """Gathers marks by mailbox."""

    def __init__(self) -> None:
        self._ids_by_mailbox: dict[str, list[int]] = {}
        self._due_sec = math.inf

    def record_delivered(self, mailbox: str, ids: list[int], now_sec: float) -> None:
        """Adds messages or responses of a mailbox that were delivered to a reader."""
        if not self._ids_by_mailbox:
            self._due_sec = now_sec + MAX_DELAY_SEC
        self._ids_by_mailbox.setdefault(mailbox, []).extend(ids)

    def due_in_sec(self, now_sec: float) -> float:
        """Returns in how many seconds the marks must be drained at the latest; infinity if there are none."""
        return max(0.0, self._due_sec - now_sec)

    def drain_due(self, now_sec: float, *, joins_others: bool) -> list[tuple[str, list[int]]]:
        """Removes and returns the marks to submit now, as (mailbox, ids).

        Args:
            joins_others: whether other commands are about to be sent, which the marks can join early.
        """
        if not self._ids_by_mailbox or not (joins_others or now_sec >= self._due_sec):
            return []
        drained, self._ids_by_mailbox, self._due_sec = self._ids_by_mailbox, {}, math.inf
        return [
            (mailbox, ids[start : start + MAX_IDS])
            for mailbox, ids in drained.items()
            for start in range(0, len(ids), MAX_IDS)
        ]
