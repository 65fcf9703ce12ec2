"""table_audit — finds what the table still shows and the database has deleted: for a command-queue that restarted.

A deletion leaves no row behind. So when its outcome was lost with the process that committed it, nothing in the
database can say it again, and the order that is repeated finds nothing to delete; only the comparison shows it.
Owns the comparison of records and counts. Not here: when (the command-queue, once its mailbox has heard everything that
came before). Invariant: only what the mark has passed is called deleted, for the rest may not be committed yet.
"""

__all__ = ["lost_deletions"]

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress

from mailroomd.protocol.commands import MailboxCounted, MessagesRemoved, Outcome
from mailroomd.table.layout import MailboxCounts
from mailroomd.table.reader import NotInTable, TableReader


def lost_deletions(
    table: TableReader, connection: sqlite3.Connection, counted: Callable[[str], MailboxCounted]
) -> list[Outcome]:
    """Returns what the mailbox has to hear so that its table shows what is there.

    It looks at every record and every mailbox, some 2 µs each: for a worker that restarts.

    Args:
        connection: the writer's, so that nothing is deleted meanwhile.
        counted: says how a mailbox stands.
    """
    try:
        shown = table.visible_ids()
    except NotInTable:
        return []  # it is being filled from the database
    oldest = shown[0] if shown else 0
    there = {number for (number,) in connection.execute("SELECT id FROM messages WHERE id >= ?", (oldest,))}
    gone = [number for number in shown if number not in there]
    outcomes: list[Outcome] = [MessagesRemoved(gone)] if gone else []
    stands = {
        name: (total, unread) for name, total, unread in connection.execute("SELECT name, total, unread FROM mailboxes")
    }
    for name, counts in _counts(table, stands):
        if (counts.total, counts.unread) != stands.get(name, (0, 0)):  # an empty mailbox may be forgotten
            outcomes.append(counted(name))
    return outcomes


def _counts(table: TableReader, names: Iterable[str]) -> list[tuple[str, MailboxCounts]]:
    """Returns every mailbox's counts; where the table has no room for all, those of these names that it has."""
    with suppress(NotInTable):
        return list(table.all_counts())
    found: list[tuple[str, MailboxCounts]] = []
    for name in names:
        with suppress(NotInTable):  # its readers ask the database
            found.append((name, table.counts(name) or MailboxCounts()))
    return found
