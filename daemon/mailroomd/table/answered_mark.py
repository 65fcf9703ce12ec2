"""AnsweredMark — how far the command-queue has answered senders, one word in the table's header.

The mailbox advances the high-water mark a moment after that, so a reader that finds it below this mark waits. Owns the
word. Above: the command-queue, its only writer. Not here: reading it (`TableReader`).
"""

__all__ = ["AnsweredMark"]

from mailroomd.memory.fence import fence
from mailroomd.table.layout import Header


class AnsweredMark:
    """Writes the mark.

    Args:
        memory: the table's shared memory.
    """

    def __init__(self, memory: memoryview) -> None:
        self._words = memory.cast("Q")

    def advance(self, message_id: int) -> None:
        """Says that the sender of this message is about to be answered; never goes back."""
        self._words[Header.ANSWERED_ID] = max(message_id, self._words[Header.ANSWERED_ID])
        fence()
