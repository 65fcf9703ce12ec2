"""Table filling — loads recent mail from the database into the mailbox table when the mailbox worker starts.

Owns what is loaded: the counts of every mailbox and the newest messages, at most `MAX_MESSAGES` and half the ring.
Above: the mailbox worker. Invariant: readers use the database until the table is filled.
"""

__all__ = ["TableFill", "fill_table"]

from collections.abc import Callable
from typing import NamedTuple

from mailroomd.model.message import Message, pack_draft
from mailroomd.storage.database.message_archive import MailboxRow, MessageArchive
from mailroomd.table.writer import TableFull, TableWriter

MAX_MESSAGES = 20_000  # the newest: what agents are likely to read, loaded in about 150 ms
PAGE_MESSAGES = 1000
BEAT_EVERY = 2000  # mailboxes between two heartbeats


class TableFill(NamedTuple):
    """What was loaded, and the highest id ever allocated."""

    last_id: int
    mailboxes: int
    messages: int


def fill_table(table: TableWriter, archive: MessageArchive, beat: Callable[[], None]) -> TableFill:
    """Fills an empty table from the database.

    Args:
        table: the mailbox table.
        archive: reads the database.
        beat: writes a heartbeat; called regularly.
    """
    last_id = max(archive.last_id(), table.reader.durable_id)  # the high-water mark passes ids of refused commands, too
    messages, newest_left_out_id = _newest(archive, last_id, table.ring_bytes // 2, beat)
    table.begin_rebuild(newest_left_out_id)
    rows = sorted(archive.mailboxes(), key=lambda row: row.last_seen_ms, reverse=True)  # if slots are short: by use
    for index, row in enumerate(rows):
        _load_mailbox(table, row)
        if index % BEAT_EVERY == 0:
            beat()
    for agent, response_id in archive.newest_responses():
        table.entry(agent).newest_response_id = response_id
    for message in messages:
        _load_message(table, message)
    beat()
    table.finish_rebuild(last_id)
    return TableFill(last_id, len(rows), len(messages))


def _newest(
    archive: MessageArchive, last_id: int, budget_bytes: int, beat: Callable[[], None]
) -> tuple[list[Message], int]:
    """Returns the newest messages, oldest first, and the highest id that was left out (0 if none was)."""
    messages: list[Message] = []
    bound_id = last_id + 1
    while len(messages) < MAX_MESSAGES:
        page = archive.newest(bound_id, PAGE_MESSAGES)
        if not page:
            return messages[::-1], 0
        for message in page:
            # An upper bound of the record's size: a character takes up to four bytes.
            budget_bytes -= len(message.draft.content) * 4 + len(message.draft.metadata) + 1000
            if budget_bytes < 0:
                return messages[::-1], message.id
            messages.append(message)
            bound_id = message.id
        beat()
    rest = archive.newest(bound_id, 1)
    return messages[::-1], rest[0].id if rest else 0


def _load_mailbox(table: TableWriter, row: MailboxRow) -> None:
    entry = table.entry(row.name)
    entry.total, entry.unread, entry.oldest_unread_id = row.total, row.unread, row.oldest_unread_id
    if row.last_seen_ms:
        table.record_seen(entry, row.last_seen_ms)


def _load_message(table: TableWriter, message: Message) -> None:
    entry = table.entry(message.draft.recipient)
    try:
        table.append(message.id, message.timestamp_ms, entry, pack_draft(message.draft), message.state)
    except TableFull as error:
        raise AssertionError("the loaded messages were chosen to fit into half the ring") from error
