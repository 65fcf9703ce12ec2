"""Resolver — replaces what a command refers to by the thing itself, before the transaction begins.

A command names a record of the mailbox table, or a request for sequence ids: the message is read, and the local event
is looked up. Not here: executing (`MessageStore`).
"""

__all__ = ["Resolver"]

from mailroomd.command_queue.local_events import LocalEvents
from mailroomd.protocol.operations import IdsAllocated, Send
from mailroomd.protocol.packets import Command
from mailroomd.storage.database.message_store import NewMail, SequencedWrite, StoredMail
from mailroomd.table.reader import NotInTable, TableReader


class Resolver:
    """Resolves commands.

    Args:
        table: holds the messages that commands refer to.
        local_events: wait for their sequence ids.
    """

    def __init__(self, table: TableReader, local_events: LocalEvents) -> None:
        self._table = table
        self._local_events = local_events

    def resolve(self, command: Command) -> SequencedWrite:
        """Returns what the store is to write for a command."""
        match command.op:
            case Send() as send:
                return NewMail(command, send, self._mail_at(command))
            case IdsAllocated() as allocated:
                return self._local_events.sequence(command, allocated)
            case _:
                return command

    def _mail_at(self, command: Command) -> StoredMail | None:
        """Returns the message that a command refers to; None if the table no longer has its record."""
        try:
            record = self._table.record_at(command.position)
        except NotInTable:
            return None
        if record.id != command.id:
            return None
        return StoredMail(record.id, record.timestamp_ms, record.draft())
