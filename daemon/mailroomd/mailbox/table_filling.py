"""Table filling — puts the hot end of the database into the mailbox table, at a start of the mailbox worker.

Owns what is loaded: every mailbox's counts, and the newest messages, as many as `FILL_MESSAGES` and half the ring hold.
Above: the mailbox. Invariant: readers are sent to the database until the table is filled.
"""

__all__ = ["Filled", "fill_table"]

from collections.abc import Callable
from typing import NamedTuple

from mailroomd.model.message import Message, pack_draft
from mailroomd.storage.database.message_archive import MailboxRow, MessageArchive
from mailroomd.table.writer import TableFull, TableWriter

FILL_MESSAGES = 20_000  # newest messages: what agents are likely to look at, in some 150 ms
FILL_PAGE = 1000
BEAT_EVERY = 2000  # mailboxes between two heartbeats


class Filled(NamedTuple):
    """What was loaded, and the highest id ever issued."""

    last_id: int
    mailboxes: int
    messages: int


def fill_table(table: TableWriter, archive: MessageArchive, beat: Callable[[], None]) -> Filled:
    """Fills an empty table from the database.

    Args:
        beat: called now and then, for the heartbeat.
    """
    last_id = max(archive.last_id(), table.reader.durable_id)  # the mark has passed ids that were refused, too
    budget = table.ring_bytes // 2
    messages, oldest_left_out = _newest(archive, last_id, budget, beat)
    table.begin_rebuild(oldest_left_out)
    rows = archive.mailboxes()
    for number, row in enumerate(rows):
        _load_mailbox(table, row)
        if number % BEAT_EVERY == 0:
            beat()
    for agent, number in archive.newest_responses():
        table.entry(agent).newest_response_id = number
    for message in messages:
        _load_message(table, message)
    beat()
    table.finish_rebuild(last_id)
    return Filled(last_id, len(rows), len(messages))


def _newest(archive: MessageArchive, last_id: int, budget: int, beat: Callable[[], None]) -> tuple[list[Message], int]:
    """Returns the newest messages, oldest first, and the highest id that is not among them."""
    found: list[Message] = []
    bound = last_id + 1
    while len(found) < FILL_MESSAGES:
        page = archive.newest(bound, FILL_PAGE)
        if not page:
            return found[::-1], 0
        for message in page:
            budget -= len(message.draft.content) * 4 + len(message.draft.metadata) + 1000  # at least what it will take
            if budget < 0:
                return found[::-1], message.id
            found.append(message)
            bound = message.id
        beat()
    rest = archive.newest(bound, 1)
    return found[::-1], rest[0].id if rest else 0


def _load_mailbox(table: TableWriter, row: MailboxRow) -> None:
    entry = table.entry(row.name)
    entry.total, entry.unread, entry.oldest_unread_id = row.total, row.unread, row.oldest_unread_id
    entry.last_seen_ms = row.last_seen_ms


def _load_message(table: TableWriter, message: Message) -> None:
    entry = table.entry(message.draft.recipient)
    try:
        table.append(message.id, message.timestamp_ms, entry, pack_draft(message.draft), message.state)
    except TableFull as error:
        raise AssertionError("half the ring holds what was counted to fit into it") from error
