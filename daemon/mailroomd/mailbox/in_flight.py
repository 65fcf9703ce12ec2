"""InFlightCommands — the commands that the command-queue has not answered yet, and the global sequence of ids.

Owns the one id sequence, and the unresolved commands in the order of their ids. Not here: what an outcome means
(`OutcomeHandler`), the queue itself (`Link`).
Invariant: the high-water mark never passes the id of an unresolved command.
"""

__all__ = ["InFlightCommand", "InFlightCommands"]

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from mailroomd.model.clock import now_ms
from mailroomd.model.ids import IdSequence
from mailroomd.protocol.packets import Command
from mailroomd.table.entry import MailboxEntry


class InFlightCommand(NamedTuple):
    """An unresolved command and the call that waits for it.

    Attributes:
        entry: of a message's mailbox; None for other commands.
        submitted_ns: when a message was submitted, on the monotonic clock.
        span: open until the command is resolved; None if it is not traced.
    """

    command: Command
    entry: MailboxEntry | None = None
    submitted_ns: int = 0
    span: Any = None

    @property
    def message_entry(self) -> MailboxEntry:
        """The entry of a message's mailbox."""
        assert self.entry is not None  # set for every message
        return self.entry


class InFlightCommands:
    """Allocates ids and keeps commands until they are resolved.

    Args:
        send: sends a command to the command-queue.
    """

    def __init__(self, send: Callable[[Command], None]) -> None:
        self._send = send
        self._ids = IdSequence()
        self._unresolved: OrderedDict[int, InFlightCommand] = OrderedDict()

    def __len__(self) -> int:
        return len(self._unresolved)

    @property
    def last_id(self) -> int:
        """The highest id ever allocated."""
        return self._ids.last

    @property
    def high_water_mark(self) -> int:
        """The id up to which every command is resolved."""
        return next(iter(self._unresolved)) - 1 if self._unresolved else self._ids.last

    def continue_after(self, last_id: int) -> None:
        """Continues the sequence after the highest id of an earlier run."""
        self._ids = IdSequence(last_id)

    def allocate_ids(self, count: int = 1, at_ms: int = 0) -> int:
        """Returns the first of `count` consecutive new ids.

        Args:
            count: at most 16,384.
            at_ms: the current time, in milliseconds since 1970, if the caller has it at hand.
        """
        return self._ids.issue(at_ms or now_ms(), count)

    def submit(self, in_flight: InFlightCommand) -> None:
        """Sends a command, whose id must be the highest so far, and keeps it until it is resolved."""
        self._unresolved[in_flight.command.id] = in_flight
        self._send(in_flight.command)

    def has_call(self, gateway: int, call: int) -> bool:
        """Returns whether the newest command is that of a call."""
        newest = next(reversed(self._unresolved.values()), None)
        return newest is not None and (newest.command.gateway, newest.command.call) == (gateway, call)

    def resolve(self, command_id: int) -> InFlightCommand | None:
        """Removes and returns a command; None if it was resolved before."""
        return self._unresolved.pop(command_id, None)

    def unresolved_commands(self) -> list[Command]:
        """Returns what must be repeated to a command-queue that restarted, in the order of the ids."""
        return [in_flight.command for in_flight in self._unresolved.values()]
