"""table_audit — finds messages that the mailbox table shows but the database has deleted.

For a command-queue that restarted. A deletion leaves no row behind: if its outcome was lost with the process that
committed it, the database cannot report it again and a repeated command finds nothing to delete. Only the comparison
shows it. Not here: when to compare (the command-queue, once its mailbox has received all earlier outcomes).
Invariant: only ids below the high-water mark are reported as deleted; the rest may not be committed yet.
"""

__all__ = ["lost_deletions"]

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress

from mailroomd.model.states import DeliveryState
from mailroomd.protocol.reports import MailboxCounted, Report, StatesAdvanced
from mailroomd.table.layout import MailboxCounts
from mailroomd.table.reader import NotInTable, TableReader


def lost_deletions(
    table: TableReader, connection: sqlite3.Connection, counted: Callable[[str], MailboxCounted]
) -> list[Report]:
    """Returns the reports that make the mailbox's table agree with the database.

    It reads every record and every mailbox, some 2 µs each: for a worker that restarts.

    Args:
        connection: the writer's, so that nothing is deleted meanwhile.
        counted: returns the counts of a mailbox.
    """
    try:
        shown_ids = table.visible_ids()
    except NotInTable:
        return []  # it is being filled from the database
    oldest_id = shown_ids[0] if shown_ids else 0
    stored_ids = {row[0] for row in connection.execute("SELECT id FROM messages WHERE id >= ?", (oldest_id,))}
    deleted_ids = [message_id for message_id in shown_ids if message_id not in stored_ids]
    reports: list[Report] = [StatesAdvanced(DeliveryState.VOIDED, deleted_ids)] if deleted_ids else []
    stored_counts = {
        name: (total, unread) for name, total, unread in connection.execute("SELECT name, total, unread FROM mailboxes")
    }
    for name, counts in _shown_counts(table, stored_counts):
        if (counts.total, counts.unread) != stored_counts.get(name, (0, 0)):  # an empty mailbox may be forgotten
            reports.append(counted(name))
    return reports


def _shown_counts(table: TableReader, names: Iterable[str]) -> list[tuple[str, MailboxCounts]]:
    """Returns the counts of every mailbox; if the table has no room for all, those of these names that it has."""
    with suppress(NotInTable):
        return list(table.all_counts())
    shown: list[tuple[str, MailboxCounts]] = []
    for name in names:
        with suppress(NotInTable):  # its readers ask the database
            shown.append((name, table.counts(name) or MailboxCounts()))
    return shown
