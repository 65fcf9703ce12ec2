"""InFlightCommands — what the mailbox ordered of the command-queue and has no answer to, and the ids that it gives.

Owns the one id sequence, and the commands that are pending, in the order of their ids. Not here: what an answer means
(`OutcomeHandler`), the queue itself (`Link`).
Invariant: the mark never passes an id whose command is pending.
"""

__all__ = ["InFlightCommands", "Pending"]

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from mailroomd.model.clock import now_ms
from mailroomd.model.ids import IdSequence
from mailroomd.protocol.commands import Command, OrderedCommand
from mailroomd.table.entry import MailboxEntry


class Pending(NamedTuple):
    """A command that the command-queue has not answered, and who waits for it: call 0 is nobody's.

    Attributes:
        entry: the mailbox's, of a message.
        sender: of a message.
        ordered_ns: when it was ordered, on the monotonic clock; of a message.
        span: that lasts until it is answered, where it is traced.
    """

    command: OrderedCommand
    gateway: int = 0
    call: int = 0
    entry: MailboxEntry | None = None
    sender: str = ""
    timestamp_ms: int = 0
    ordered_ns: int = 0
    span: Any = None


class InFlightCommands:
    """Gives ids and keeps what is pending.

    Args:
        send: takes a command for the command-queue.
    """

    def __init__(self, send: Callable[[Command], None]) -> None:
        self._send = send
        self._ids = IdSequence()
        self._pending: OrderedDict[int, Pending] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def last_id(self) -> int:
        """The highest id ever issued."""
        return self._ids.last

    @property
    def mark(self) -> int:
        """The id up to which everything is answered."""
        return next(iter(self._pending)) - 1 if self._pending else self._ids.last

    def begin_after(self, last_id: int) -> None:
        """Goes on behind an id that was issued before."""
        self._ids = IdSequence(last_id)

    def issue(self, count: int = 1, at_ms: int = 0) -> int:
        """Returns the first of so many new ids.

        Args:
            at_ms: the time, milliseconds since 1970, where the caller knows it.
        """
        return self._ids.issue(at_ms or now_ms(), count)

    def order(self, pending: Pending) -> None:
        """Sends a command and keeps it until it is settled."""
        self._pending[pending.command.id] = pending
        self._send(pending.command)

    def settle(self, number: int) -> Pending | None:
        """Returns the command of an id, which is pending no more; None if it was answered before."""
        return self._pending.pop(number, None)

    def unanswered(self) -> list[Command]:
        """Returns what a command-queue that restarted has to hear again."""
        return [one.command for one in self._pending.values()]
