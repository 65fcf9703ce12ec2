"""PendingDeliveryMarks — what was handed over and is not ordered of the command-queue yet: it goes along with other commands.

Owns the tenth of a second that an offer waits for company, so that it costs no transaction of its own while there are
others. Pure: the clock is the caller's, monotonic, in seconds. Not here: the table's states, the order itself.
"""

__all__ = ["PendingDeliveryMarks"]

import math

WAIT_SEC = 0.1  # for a command that goes anyway; a sender hears of the offer so much later at most
MANY = 1000  # of one mailbox in one command: keeps a packet and a transaction small


class PendingDeliveryMarks:
    """Gathers offers by mailbox."""

    def __init__(self) -> None:
        self._gathered: dict[str, list[int]] = {}
        self._due_sec = math.inf

    def add(self, mailbox: str, numbers: list[int], now_sec: float) -> None:
        """Takes messages or responses that were handed over."""
        if not self._gathered:
            self._due_sec = now_sec + WAIT_SEC
        self._gathered.setdefault(mailbox, []).extend(numbers)

    def due(self, now_sec: float) -> float:
        """Returns after how many seconds to `take`, whoever goes along or not."""
        return max(0.0, self._due_sec - now_sec)

    def take(self, now_sec: float, *, others_go: bool) -> list[tuple[str, list[int]]]:
        """Returns (mailbox, numbers) of what is to be ordered now, and forgets it.

        Args:
            others_go: whether other commands go now, too.
        """
        if not self._gathered or not (others_go or now_sec >= self._due_sec):
            return []
        gathered, self._gathered, self._due_sec = self._gathered, {}, math.inf
        return [
            (mailbox, numbers[at : at + MANY])
            for mailbox, numbers in gathered.items()
            for at in range(0, len(numbers), MANY)
        ]
