"""NewNames — bounds how many mailboxes one agent makes by writing to names that have none yet.

Each such name costs an entry in memory, a place in the mailbox table and a directory. Only senders that proved their
name are bounded: the owner and administrators may fill a room as they like. Above: `RequestHandler`. Not here: which
names have a mailbox (`TableWriter`).
"""

__all__ = ["NEW_NAMES", "NewNames"]

from mailroomd.core.rate_limit import RateLimit
from mailroomd.model.errors import Reason
from mailroomd.protocol.operations import Refused, Send

NEW_NAMES = 1000  # at once: as many as one Broadcast or SendMessages names
NEW_NAMES_PER_SEC = 1.0
MAX_SENDERS = 10_000  # that are remembered; those whose bucket is full are forgotten first


class NewNames:
    """Counts new names by sender."""

    def __init__(self) -> None:
        self._limits: dict[str, RateLimit] = {}

    def __len__(self) -> int:
        return len(self._limits)

    def refusal(self, send: Send, mailbox: str, sender: str, now_sec: float) -> Refused | None:
        """Returns why a message may not make a mailbox; None if it may, and is counted then.

        Args:
            send: the message.
            mailbox: where it goes.
            sender: the agent that sends it.
            now_sec: monotonic seconds.
        """
        if not send.verified:
            return None
        limit = self._limits.get(sender)
        if limit is None:
            self._make_room(now_sec)
            limit = self._limits[sender] = RateLimit(NEW_NAMES_PER_SEC, NEW_NAMES, now_sec)
        wait_ms = limit.consume(1, now_sec)
        if not wait_ms:
            return None
        sentence = (
            f"{mailbox} has no mailbox yet, and {sender} has made {NEW_NAMES:,} new ones, the most at once: "
            "check the name of the recipient, or retry after the delay"
        )
        return Refused(Reason.RATE_LIMITED, sentence, "recipient", wait_ms)

    def _make_room(self, now_sec: float) -> None:
        if len(self._limits) < MAX_SENDERS:
            return
        self._limits = {sender: limit for sender, limit in self._limits.items() if not limit.is_full(now_sec)}
        if len(self._limits) >= MAX_SENDERS:
            del self._limits[next(iter(self._limits))]
