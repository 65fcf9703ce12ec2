"""MailReader — reads mail for the gateway: from the mailbox table if it has the answer, otherwise from the database.

Owns the choice between the two. Receipts and command responses are only in the database; they are read beside the
messages and merged by id. Nothing above the high-water mark is ever returned. Several mailboxes are read as one
(`core.aliases`). Not here: waiting for new mail (`Wakeups`), protobuf messages (`conversion`).
Invariant: reading needs neither the mailbox nor the command-queue to be alive.
"""

__all__ = ["MailReader", "age_sec"]

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mailroomd.gateway.archive_pool import ArchivePool
from mailroomd.gateway.cooperation import LoopShare
from mailroomd.gateway.paging import AnnouncementPage, merge_announcements, merge_listed, merge_unread, page_of
from mailroomd.model.clock import now_ms
from mailroomd.model.departure import Departure
from mailroomd.model.ids import MAX_ID, milliseconds_of
from mailroomd.model.message import Message
from mailroomd.model.message_filter import MessageFilter
from mailroomd.model.page import READ_BYTES, Page
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.message_archive import MailboxRow, MessageArchive, StoredHistory
from mailroomd.storage.database.message_search import never
from mailroomd.storage.database.traffic import Traffic
from mailroomd.table.layout import MailboxCounts
from mailroomd.table.reader import NotInTable, Record, TableReader

CATCH_UP_SEC = 2.0  # a restart of the mailbox takes about half a second
CATCH_UP_PAUSE_SEC = 0.001  # reading a word is cheaper than a notification; uvloop's timers count milliseconds
SHARED_PAGES = 16  # pages kept for streams that read the same
SHARED_SEC = 0.02  # enough for all streams that one notification wakes, too short to be noticed
STATES_AT_ONCE = 64  # messages of one lookup: some milliseconds if they are far apart in the table
IN_DATABASE = -1  # as a position: the table did not have the last page, so the database is asked for the next one
MAX_RECENTLY_OFFERED = 20_000  # messages; far more than the quarter of a second until the database has them


class MailReader:
    """Reads mail.

    Args:
        table: the mailbox table.
        state_dir: the directory of the database.
    """

    def __init__(self, table: TableReader, state_dir: Path) -> None:
        self._table = table
        self._archive = ArchivePool(state_dir)
        self._recently_offered: dict[int, None] = {}
        self._shared_pages: dict[tuple[str | None, int, int, int], AnnouncementPage] = {}

    @property
    def high_water_mark(self) -> int:
        """The newest id that may be shown: everything up to it is durable."""
        return self._table.durable_id

    @property
    def newest_id(self) -> int:
        """The newest id that anyone can know of."""
        return max(self._table.durable_id, self._table.answered_id)

    async def catch_up(self) -> None:
        """Returns once every message is visible whose sender was answered before this call.

        That takes a millisecond at most, if at all. If the mailbox has died just then, it takes until its successor
        has filled the table; a reader does not wait longer than CATCH_UP_SEC for that.
        """
        answered_id = self._table.answered_id
        deadline = time.monotonic() + CATCH_UP_SEC
        while self._table.durable_id < answered_id and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
            await asyncio.sleep(CATCH_UP_PAUSE_SEC)

    def record_offered(self, message_ids: Iterable[int]) -> list[int]:
        """Records that this gateway has offered messages, which table and database show a moment later.

        Returns the ids that were not recorded before.
        """
        new_ids = [message_id for message_id in message_ids if message_id not in self._recently_offered]
        self._recently_offered.update(dict.fromkeys(new_ids))
        while len(self._recently_offered) > MAX_RECENTLY_OFFERED:
            del self._recently_offered[next(iter(self._recently_offered))]
        return new_ids

    def close(self) -> None:
        """Lets the database threads end."""
        self._archive.close()

    async def is_incomplete_after(self, cursor: int) -> bool:
        """Returns whether events after a cursor may be missing because their retention deleted them."""
        return cursor < await self._archive.read(MessageArchive.forgotten_id)

    async def read_after(
        self,
        mailboxes: Sequence[str] | None,
        cursor: int,
        limit: int,
        position: int = 0,
        *,
        receipts: bool = False,
    ) -> AnnouncementPage:
        """Returns messages and responses after a cursor, oldest first.

        Args:
            mailboxes: the mailboxes to read; None for all.
            cursor: everything up to this id has been read.
            limit: of each kind, and of each mailbox.
            position: the last page's, a hint.
            receipts: whether to include receipts for the senders of these names.
        """
        parts = [await self._messages_after(name, cursor, limit, position) for name in mailboxes or (None,)]
        through_id = min(part.cursor for part in parts)
        others: list[Page[Any]] = []
        if receipts or self._may_have_responses(mailboxes, cursor):
            others.append(
                await self._archive.read(lambda archive: archive.responses(mailboxes, cursor, through_id, limit))
            )
        if receipts:
            others.append(
                await self._archive.read(lambda archive: archive.receipts(mailboxes, cursor, through_id, limit))
            )
        if len(parts) == 1 and not any(others):
            return parts[0]
        return merge_announcements([*parts, *others], through_id)

    async def _messages_after(self, mailbox: str | None, cursor: int, limit: int, position: int) -> AnnouncementPage:
        """Returns messages only; one page serves all readers that want the same, as a mailbox's subscribers do."""
        mark = self.high_water_mark
        page = self._shared_pages.get((mailbox, cursor, limit, mark))
        if page is None:
            page = await self._read_messages_after(mailbox, cursor, limit, position, mark)
            if not self._shared_pages:
                asyncio.get_running_loop().call_later(SHARED_SEC, self._shared_pages.clear)
            if len(self._shared_pages) < SHARED_PAGES:
                self._shared_pages[mailbox, cursor, limit, mark] = page
        return page

    async def _read_messages_after(
        self, mailbox: str | None, cursor: int, limit: int, position: int, mark: int
    ) -> AnnouncementPage:
        page = AnnouncementPage()
        source: Page[Record] | Page[Message] | None = None
        if position != IN_DATABASE:  # the walk of a mailbox in the table is long where it is in vain
            with suppress(NotInTable):
                if mailbox is None:
                    source, page.position = self._table.after_all(cursor, limit, position)
                else:
                    source = self._table.after(mailbox, cursor, limit)
                page.extend(map(_message, source))
        if source is None:
            source = await self._archive.read(lambda archive: archive.after(mailbox, cursor, mark, limit))
            page.extend(source)
            page.position = IN_DATABASE if source.is_cut and mailbox is not None else 0
        page.is_cut = source.is_cut
        page.cursor = page[-1].id if source.is_cut else max(cursor, mark, page[-1].id if page else 0)
        return page

    def _may_have_responses(self, mailboxes: Sequence[str] | None, cursor: int) -> bool:
        try:
            all_counts = [self._table.counts(name) for name in mailboxes or ()]
        except NotInTable:
            return True
        return mailboxes is None or any(
            counts is not None and counts.newest_response_id > cursor for counts in all_counts
        )

    async def read_undelivered(
        self, mailboxes: Sequence[str], cursor: int, through_id: int, limit: int
    ) -> AnnouncementPage:
        """Returns unread messages, and responses that were not offered yet, after a cursor, oldest first.

        Args:
            mailboxes: the mailboxes to read.
            cursor: everything up to this id has been read.
            through_id: the last id to be returned.
            limit: of each kind.
        """
        parts: list[Page[Any]] = [await self.read_unread(mailboxes, limit, after=cursor)]
        if self._may_have_responses(mailboxes, 0):
            parts.append(
                await self._archive.read(
                    lambda archive: archive.waiting_responses(mailboxes, cursor, through_id, limit)
                )
            )
        return merge_announcements(parts, through_id)

    async def read_unread(
        self,
        mailboxes: Sequence[str],
        limit: int,
        *,
        budget_bytes: int = READ_BYTES,
        after: int = 0,
        unoffered_only: bool = False,
        newest_first: bool = False,
    ) -> Page[Message]:
        """Returns unread messages, oldest first unless `newest_first`."""
        parts = [
            await self._unread_of(name, limit, budget_bytes, after, unoffered_only, newest_first) for name in mailboxes
        ]
        return merge_unread(parts, limit, budget_bytes, newest_first=newest_first)

    async def _unread_of(
        self, mailbox: str, limit: int, budget_bytes: int, after: int, unoffered_only: bool, newest_first: bool
    ) -> Page[Message]:
        def is_wanted(message_id: int, state: DeliveryState) -> bool:
            return message_id > after and not (unoffered_only and self._is_offered(message_id, state))

        mark = self.high_water_mark
        try:
            page = self._table.unread(mailbox, limit, budget_bytes, newest_first=newest_first, is_wanted=is_wanted)
            return page_of(map(_message, page), is_cut=page.is_cut)
        except NotInTable:
            pass
        unread = Page[Message]()
        while True:  # the database's states lag behind: some messages drop out, so read until there are enough
            room = budget_bytes - sum(len(message.draft.content) for message in unread)
            read = partial(_unread_page, mailbox, after, mark, limit, room, unoffered_only, newest_first)
            stored = await self._archive.read(read)
            current = await self._with_current_states(stored)
            unread += [
                message for message in current if message.state.is_unread and is_wanted(message.id, message.state)
            ]
            if not stored.is_cut:
                return page_of(unread[:limit], is_cut=len(unread) > limit)
            if len(unread) >= limit or (unread and room <= 0):
                return page_of(unread[:limit], is_cut=True)
            mark, after = (stored[-1].id - 1, after) if newest_first else (mark, stored[-1].id)

    async def read_newest(
        self,
        mailboxes: Sequence[str] | None,
        limit: int,
        wanted: MessageFilter,
        *,
        budget_bytes: int = READ_BYTES,
        before: int = 0,
    ) -> Page[Message]:
        """Returns messages newest first, below the id `before` if given; of all mailboxes for None."""
        below_id = min(before or MAX_ID, self.high_water_mark + 1)
        parts = [await self._newest_of(name, limit, budget_bytes, below_id, wanted) for name in mailboxes or (None,)]
        return merge_listed(parts, limit)

    async def _newest_of(
        self, mailbox: str | None, limit: int, budget_bytes: int, below_id: int, wanted: MessageFilter
    ) -> Page[Message]:
        if mailbox is not None and not (wanted.thread_id or wanted.is_search):
            try:
                newest = self._table.newest(
                    mailbox, limit, budget_bytes, below=below_id, unread_only=wanted.unread_only
                )
                return page_of(map(_message, newest), is_cut=newest.is_cut)
            except NotInTable:
                pass
        while True:
            read = partial(_page_before, mailbox, below_id, limit, budget_bytes, wanted)
            stored = await (self._archive.search(read) if wanted.is_search else self._archive.read(read))
            current = await self._with_current_states(stored)
            kept = [message for message in current if wanted.has_state(message.state)]
            if kept or not stored.is_cut:
                return page_of(kept, is_cut=stored.is_cut)
            below_id = stored[-1].id  # none of them is in a wanted state any more

    async def read_traffic(self, begin_ms: int) -> Traffic:
        """Returns how many messages each sender sent to each mailbox since a time, milliseconds since 1970."""
        count = partial(_traffic, begin_ms, self.high_water_mark)
        return await self._archive.search(count)

    async def read_parties(self, message_id: int) -> tuple[str, str]:
        """Returns sender and recipient of a message; empty names if it does not exist. Takes as long for both."""
        parties = await self._archive.read(lambda archive: archive.parties(min(message_id, self.high_water_mark + 1)))
        return parties or ("", "")

    async def read_history(self, message_id: int) -> StoredHistory | None:
        """Returns one message with the times of its delivery states; None if it does not exist."""
        if message_id > self.high_water_mark:
            return None
        history = await self._archive.read(lambda archive: archive.history(message_id))
        if history is None:
            return None
        (message,) = await self._with_current_states([history.message])
        return history._replace(message=message)

    async def read_departure(self, message: Message) -> Departure:
        """Returns how far a message for another host has come on this side."""
        return await self._archive.read(lambda archive: archive.departure(message))

    async def read_counts(self, mailbox: str) -> MailboxCounts:
        """Returns the counts of a mailbox; zeros if it does not exist."""
        try:
            return self._table.counts(mailbox) or MailboxCounts()
        except NotInTable:
            row = await self._archive.read(lambda archive: archive.mailbox(mailbox))
            return MailboxCounts() if row is None else _counts(row)

    async def read_all_counts(self) -> list[tuple[str, MailboxCounts]]:
        """Returns the counts of every mailbox, in any order."""
        all_counts: list[tuple[str, MailboxCounts]] = []
        share = LoopShare()
        try:
            for name, counts in self._table.all_counts():
                if any(counts):  # an unused mailbox without mail is the remainder of a refused send
                    all_counts.append((name, counts))
                await share.yield_if_due()
        except NotInTable:
            all_counts.clear()
            for row in await self._archive.read(MessageArchive.mailboxes):
                all_counts.append((row.name, _counts(row)))
                await share.yield_if_due()
        return all_counts

    def accepted_ms(self, message_id: int) -> int:
        """Returns when a message was accepted: what its id says, unless that lies ahead and the table knows better.

        Ids never go back, so after a clock that was ahead they run ahead of the time.
        """
        when_ms = milliseconds_of(message_id)
        if when_ms > now_ms():
            with suppress(NotInTable):
                return self._table.timestamp_ms_of(message_id)
        return when_ms

    async def _with_current_states(self, messages: Sequence[Message]) -> list[Message]:
        """Returns messages from the database in their current state; the database learns of OFFERED a little later."""
        share = LoopShare()
        current: list[Message] = []
        for start in range(0, len(messages), STATES_AT_ONCE):
            part = messages[start : start + STATES_AT_ONCE]
            states = dict[int, DeliveryState]()
            with suppress(NotInTable):
                states = self._table.states_of(message.id for message in part)
            current += [self._with_state(message, states.get(message.id, message.state)) for message in part]
            await share.yield_if_due()
        return current

    def _with_state(self, message: Message, in_table: DeliveryState) -> Message:
        is_recent = message.id in self._recently_offered
        state = max(message.state, in_table, DeliveryState.OFFERED if is_recent else DeliveryState.STORED)
        return Message(message.id, message.timestamp_ms, state, message.draft) if state != message.state else message

    def _is_offered(self, message_id: int, state: DeliveryState) -> bool:
        return state >= DeliveryState.OFFERED or message_id in self._recently_offered


def _message(record: Record) -> Message:
    return Message(record.id, record.timestamp_ms, record.state, record.draft())


def _counts(row: MailboxRow) -> MailboxCounts:
    return MailboxCounts(row.total, row.unread, row.oldest_unread_id, last_seen_ms=row.last_seen_ms)


def _unread_page(
    mailbox: str,
    after: int,
    mark: int,
    limit: int,
    budget_bytes: int,
    unoffered_only: bool,
    newest_first: bool,
    archive: MessageArchive,
) -> Page[Message]:
    return archive.unread(
        mailbox, after, mark, limit, budget_bytes, newest_first=newest_first, unoffered_only=unoffered_only
    )


def _page_before(
    mailbox: str | None,
    below_id: int,
    limit: int,
    budget_bytes: int,
    wanted: MessageFilter,
    archive: MessageArchive,
    is_cancelled: Callable[[], bool] = never,
) -> Page[Message]:
    return archive.listed(mailbox, below_id, limit, wanted, budget_bytes, is_cancelled=is_cancelled)


def _traffic(begin_ms: int, mark: int, archive: MessageArchive, is_cancelled: Callable[[], bool]) -> Traffic:
    return archive.traffic(begin_ms, mark, is_cancelled)


def age_sec(milliseconds: int) -> int:
    """Returns how long ago a time was, in whole seconds; 0 for the future."""
    return max(0, (now_ms() - milliseconds) // 1000)
