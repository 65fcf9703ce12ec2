"""MailReader — reads mail for the gateway: from the table where that is certain, else from the database.

Owns the choice between the two, and the few threads in which the database is read (one page a read). Receipts and
command responses are in the database alone; they are read beside the messages and merged by their places. Only ever
returns what is at or below the durable mark. Where several mailboxes are named, it reads them as one (`core.aliases`).
Not here: waiting for new mail (`Wakeups`), the contract's messages (`conversion`).
Invariant: it needs neither mailbox nor command-queue to be alive.
"""

__all__ = ["MailReader", "age_sec"]

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from mailroomd.model.announcement import Announcement
from mailroomd.model.clock import now_ms
from mailroomd.model.ids import MAX_ID
from mailroomd.model.message import Message, unpack_draft
from mailroomd.model.page import READ_BYTES, Page
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.message_archive import MailboxRow, MessageArchive, StoredHistory
from mailroomd.table.layout import MailboxCounts
from mailroomd.table.reader import NotInTable, Record, TableReader

Read = TypeVar("Read")

THREADS = 2  # for database reads; they wait for the disk, the loop does not
COUNTS_AT_ONCE = 1000  # mailboxes: some 5 ms
SHARED_PAGES = 16  # of those that were read last
SHARED_SEC = 0.02  # which is long enough for all streams that are woken at once, and too short to be noticed
MAX_OFFERED = 20_000  # handed over last: many more than the quarter of a second until it is in the database


class AnnouncementPage(Page[Announcement]):
    """What came after a cursor, and the cursor behind it: everything up to that has been seen.

    Attributes:
        position: a hint for reading on.
    """

    cursor: int = 0
    position: int = 0


class MailReader:
    """Reads mail.

    Args:
        table: the mailbox table.
        state_dir: where the database lies.
    """

    def __init__(self, table: TableReader, state_dir: Path) -> None:
        self._table = table
        self._state_dir = state_dir
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="archive")
        self._local = threading.local()
        self._offered: dict[int, None] = {}
        self._shared: dict[tuple[str | None, int, int, int], AnnouncementPage] = {}

    @property
    def mark(self) -> int:
        """The durable mark: every id up to it may be shown."""
        return self._table.durable_id

    def note_offered(self, numbers: Iterable[int]) -> list[int]:
        """Takes note that this gateway handed messages over: table and database show it a moment later.

        Returns those of which that was not noted before.
        """
        news = [one for one in numbers if one not in self._offered]
        self._offered.update(dict.fromkeys(news))
        while len(self._offered) > MAX_OFFERED:
            del self._offered[next(iter(self._offered))]
        return news

    def close(self) -> None:
        """Lets the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def after(
        self,
        mailboxes: Sequence[str] | None,
        cursor: int,
        limit: int,
        position: int = 0,
        *,
        receipts: bool = False,
    ) -> AnnouncementPage:
        """Returns messages and responses after a cursor, oldest first; of every mailbox where None is given.

        Args:
            limit: of each kind, and of each mailbox.
            position: the last page's, a hint.
            receipts: also those for the senders of these names.
        """
        parts = [await self._messages_after(name, cursor, limit, position) for name in mailboxes or (None,)]
        through = min(part.cursor for part in parts)
        beside: list[Page[Any]] = []
        if receipts or self._may_have_responses(mailboxes, cursor):
            beside.append(await self._ask(lambda archive: archive.responses(mailboxes, cursor, through, limit)))
        if receipts:
            beside.append(await self._ask(lambda archive: archive.receipts(mailboxes, cursor, through, limit)))
        if len(parts) == 1 and not any(beside):
            return parts[0]
        return _merged([*parts, *beside], through)

    async def _messages_after(self, mailbox: str | None, cursor: int, limit: int, position: int) -> AnnouncementPage:
        """Returns messages alone; one page for all who ask for the same at once, as a mailbox's subscribers do."""
        mark = self.mark
        page = self._shared.get((mailbox, cursor, limit, mark))
        if page is None:
            page = await self._read_messages_after(mailbox, cursor, limit, position, mark)
            if not self._shared:
                asyncio.get_running_loop().call_later(SHARED_SEC, self._shared.clear)
            if len(self._shared) < SHARED_PAGES:
                self._shared[mailbox, cursor, limit, mark] = page
        return page

    async def _read_messages_after(
        self, mailbox: str | None, cursor: int, limit: int, position: int, mark: int
    ) -> AnnouncementPage:
        page = AnnouncementPage()
        found: Page[Record] | Page[Message]
        try:
            if mailbox is None:
                found, page.position = self._table.after_all(cursor, limit, position)
            else:
                found = self._table.after(mailbox, cursor, limit)
            page.extend(map(_message, found))
        except NotInTable:
            found = await self._ask(lambda archive: archive.after(mailbox, cursor, mark, limit))
            page.extend(found)
        page.is_cut = found.is_cut
        page.cursor = page[-1].id if found.is_cut else max(cursor, mark, page[-1].id if page else 0)
        return page

    def _may_have_responses(self, mailboxes: Sequence[str] | None, cursor: int) -> bool:
        try:
            known = [self._table.counts(name) for name in mailboxes or ()]
        except NotInTable:
            return True
        return mailboxes is None or any(one is not None and one.newest_response_id > cursor for one in known)

    async def waiting(self, mailboxes: Sequence[str], cursor: int, until: int, limit: int) -> AnnouncementPage:
        """Returns what was not taken yet after a cursor, oldest first: unread messages, responses nobody was handed.

        Args:
            until: nothing behind it is returned.
            limit: of each kind.
        """
        parts: list[Page[Any]] = [await self.unread(mailboxes, limit, after=cursor)]
        if self._may_have_responses(mailboxes, 0):
            parts.append(await self._ask(lambda archive: archive.waiting_responses(mailboxes, cursor, until, limit)))
        return _merged(parts, until)

    async def unread(
        self,
        mailboxes: Sequence[str],
        limit: int,
        *,
        budget_bytes: int = READ_BYTES,
        after: int = 0,
        unoffered_only: bool = False,
        newest_first: bool = False,
    ) -> Page[Message]:
        """Returns unread messages, oldest first unless said otherwise."""
        parts = [
            await self._unread_of(name, limit, budget_bytes, after, unoffered_only, newest_first) for name in mailboxes
        ]
        if len(parts) == 1:
            return parts[0]
        found = sorted(chain(*parts), key=lambda one: one.id, reverse=newest_first)
        room = budget_bytes
        for count, one in enumerate(found):
            room -= len(one.draft.content)
            if count == limit or (room < 0 and count):
                return _batch(found[:count], is_cut=True)
        return _batch(found, is_cut=any(part.is_cut for part in parts))

    async def _unread_of(
        self, mailbox: str, limit: int, budget_bytes: int, after: int, unoffered_only: bool, newest_first: bool
    ) -> Page[Message]:
        def is_wanted(number: int, state: DeliveryState) -> bool:
            return number > after and not (unoffered_only and self._is_offered(number, state))

        mark = self.mark
        try:
            found = self._table.unread(mailbox, limit, budget_bytes, newest_first=newest_first, is_wanted=is_wanted)
            return _batch(map(_message, found), is_cut=found.is_cut)
        except NotInTable:
            pass
        found = Page[Message]()
        while True:  # some that the database calls unread or unoffered are further by now: read until there is enough
            room = budget_bytes - sum(len(one.draft.content) for one in found)
            read = partial(_unread_page, mailbox, after, mark, limit, room, unoffered_only, newest_first)
            page = await self._ask(read)
            found += [one for one in self._with_states(page) if one.state.is_unread and is_wanted(one.id, one.state)]
            if not page.is_cut:
                return _batch(found[:limit], is_cut=len(found) > limit)
            if len(found) >= limit or (found and room <= 0):
                return _batch(found[:limit], is_cut=True)
            mark, after = (page[-1].id - 1, after) if newest_first else (mark, page[-1].id)

    async def listed(
        self,
        mailboxes: Sequence[str] | None,
        limit: int,
        *,
        budget_bytes: int = READ_BYTES,
        before: int = 0,
        unread_only: bool = False,
        thread_id: str = "",
        query: str = "",
    ) -> Page[Message]:
        """Returns messages newest first, from below an id where one is given; of every mailbox where None is given."""
        bound = min(before or MAX_ID, self.mark + 1)
        parts = [
            await self._listed_of(name, limit, budget_bytes, bound, unread_only, thread_id, query)
            for name in mailboxes or (None,)
        ]
        if len(parts) == 1:
            return parts[0]
        found = sorted(chain(*parts), key=lambda one: one.id, reverse=True)
        cut_at = max((part[-1].id for part in parts if part.is_cut), default=0)
        kept = [one for one in found if one.id >= cut_at][:limit]
        return _batch(kept, is_cut=len(kept) < len(found) or cut_at > 0)

    async def _listed_of(
        self,
        mailbox: str | None,
        limit: int,
        budget_bytes: int,
        bound: int,
        unread_only: bool,
        thread_id: str,
        query: str,
    ) -> Page[Message]:
        if mailbox is not None and not (thread_id or query):
            try:
                newest = self._table.newest(mailbox, limit, budget_bytes, below=bound, unread_only=unread_only)
                return _batch(map(_message, newest), is_cut=newest.is_cut)
            except NotInTable:
                pass
        found = await self._ask(
            lambda archive: archive.before(
                mailbox, bound, limit, budget_bytes, unread_only=unread_only, thread_id=thread_id, query=query
            )
        )
        current = self._with_states(found)
        return _batch([one for one in current if one.state.is_unread or not unread_only], is_cut=found.is_cut)

    async def history(self, number: int) -> StoredHistory | None:
        """Returns one message with the times of its steps; None if it does not exist."""
        if number > self.mark:
            return None
        found = await self._ask(lambda archive: archive.history(number))
        return found and found._replace(message=self._with_states([found.message])[0])

    async def counts(self, agent: str) -> MailboxCounts:
        """Returns how a mailbox stands; zeros if it does not exist."""
        try:
            return self._table.counts(agent) or MailboxCounts()
        except NotInTable:
            row = await self._ask(lambda archive: archive.mailbox(agent))
            return MailboxCounts() if row is None else _counts(row)

    async def all_counts(self) -> list[tuple[str, MailboxCounts]]:
        """Returns how every mailbox stands, by name."""
        try:
            rows: list[tuple[str, MailboxCounts]] = []
            for number, row in enumerate(self._table.all_counts()):
                if any(row[1]):  # one that nobody was in and nothing came to is left of a send that was refused
                    rows.append(row)
                if number % COUNTS_AT_ONCE == COUNTS_AT_ONCE - 1:
                    await asyncio.sleep(0)  # other calls come first
            return sorted(rows)
        except NotInTable:
            rows_there = await self._ask(lambda archive: archive.mailboxes())
            return [(row.name, _counts(row)) for row in rows_there]

    def _with_states(self, messages: Iterable[Message]) -> list[Message]:
        """Returns messages from the database as far as they have come: OFFERED reaches table and database later."""
        return [self._with_state(one) for one in messages]

    def _with_state(self, message: Message) -> Message:
        state = max(message.state, DeliveryState.OFFERED) if message.id in self._offered else message.state
        with suppress(NotInTable):
            state = max(state, self._table.find(message.id).state)
        return Message(message.id, message.timestamp_ms, state, message.draft)

    def _is_offered(self, number: int, state: DeliveryState) -> bool:
        return state >= DeliveryState.OFFERED or number in self._offered

    async def _ask(self, read: Callable[[MessageArchive], Read]) -> Read:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_archive, read)

    def _read_archive(self, read: Callable[[MessageArchive], Read]) -> Read:
        if not hasattr(self._local, "archive"):
            self._local.archive = MessageArchive(self._state_dir)
        return read(self._local.archive)


def _message(record: Record) -> Message:
    return Message(record.id, record.timestamp_ms, record.state, unpack_draft(record.body))


def _counts(row: MailboxRow) -> MailboxCounts:
    return MailboxCounts(row.total, row.unread, row.oldest_unread_id, last_seen_ms=row.last_seen_ms)


def _merged(parts: Sequence[Page[Any]], through: int) -> AnnouncementPage:
    """Returns what several reads found after one cursor, in order, as far as all of them have looked.

    Args:
        through: how far they have looked where they were not cut.
    """
    page = AnnouncementPage()
    page.cursor = min((part[-1].id for part in parts if part.is_cut), default=through)
    page.extend(sorted((one for part in parts for one in part if one.id <= page.cursor), key=lambda one: one.id))
    page.is_cut = any(part.is_cut for part in parts)
    return page


def _unread_page(
    agent: str,
    after: int,
    mark: int,
    limit: int,
    budget_bytes: int,
    unoffered_only: bool,
    newest_first: bool,
    archive: MessageArchive,
) -> Page[Message]:
    return archive.unread(
        agent, after, mark, limit, budget_bytes, newest_first=newest_first, unoffered_only=unoffered_only
    )


def _batch(messages: Iterable[Message], *, is_cut: bool) -> Page[Message]:
    batch = Page(messages)
    batch.is_cut = is_cut
    return batch


def age_sec(milliseconds: int) -> int:
    """Returns how long ago a moment was, in whole seconds; 0 for the future."""
    return max(0, (now_ms() - milliseconds) // 1000)
