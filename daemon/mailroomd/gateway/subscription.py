"""Subscription — one Subscribe stream: a cursor that reads on whenever its waiter is notified.

Owns the replay, the change from replay to live, the division of a page into responses, and marking messages offered
(after they were written to the stream, never for an observer). Aliases come and go, so the mailboxes behind the name
are resolved for every page. Not here: reading (`MailReader`), waking (`Wakeups`), bytes (`EventEncoder`).
Invariant: everything above the cursor is written once, in global sequence; nothing is queued for a slow reader. A
response carries what is ready: no event waits for another.
"""

__all__ = ["Subscription"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailroomd.gateway.call import Write
from mailroomd.gateway.cooperation import WorkSlots
from mailroomd.gateway.encoding import EventEncoder, join_events
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient
from mailroomd.gateway.wakeups import ALL_TOPICS, Waiter, Wakeups, topics_of
from mailroomd.model.announcement import Announcement, Receipt, Response
from mailroomd.model.clock import now_ms
from mailroomd.model.ids import MAX_ID, format_id
from mailroomd.model.limits import MAX_BATCH_BYTES
from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import STREAM_SECONDS
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.operations import MarkOffered

PAGE_MESSAGES = 64  # read at once: bounds what a stream holds, and how long it occupies the loop


@dataclass(slots=True)
class Subscription:
    """One stream.

    Attributes:
        mailboxes: returns the mailboxes to read, None for all; raises `MailroomError` if the caller may no longer read.
        work: the work slots of the stream's client.
        cursor: everything up to this id has been written, or is not wanted.
        include_unread: replay undelivered messages first.
        receipts: include receipts for the senders of these names.
        observe: mark nothing offered.
        max_batch: how many events one response may carry.
        preview_bytes: what is shown of each content; 0 for all of it, and metadata.
        write: writes a serialized response, and returns when gRPC has room for the next one.
    """

    reader: MailReader
    encoder: EventEncoder
    client: MailboxClient
    wakeups: Wakeups
    metrics: MetricsBlock
    waiter: Waiter
    mailboxes: Callable[[], Sequence[str] | None]
    work: WorkSlots
    cursor: int
    include_unread: bool
    receipts: bool
    observe: bool
    max_batch: int
    preview_bytes: int
    is_stopping: Callable[[], bool]
    write: Write
    _is_live: bool = False

    async def run(self) -> None:
        """Writes the replay, CaughtUp, then live events; GoingAway when the daemon stops."""
        start, resumed_id = self.reader.high_water_mark, self.cursor
        await (self._write_undelivered(start) if self.include_unread else self._follow(until_id=start))
        if not self.is_stopping():
            self.cursor = max(self.cursor, start)
            gap = resumed_id < start and not self.include_unread and await self.reader.is_incomplete_after(resumed_id)
            await self.write(self.encoder.encode_caught_up(self.cursor, gap=gap))
        self._is_live = True
        await self._follow(until_id=MAX_ID)
        await self.write(self.encoder.encode_going_away(self.cursor))

    def _resolve_mailboxes(self) -> Sequence[str] | None:
        """Returns the mailboxes to read now, and makes the waiter wait for them."""
        mailboxes = self.mailboxes()
        topics = ALL_TOPICS if mailboxes is None else topics_of(mailboxes, receipts=self.receipts)
        if self.waiter.topics != topics:
            self.wakeups.set_topics(self.waiter, topics)
        return mailboxes

    async def _follow(self, until_id: int) -> None:
        """Writes what follows the cursor, until the cursor reaches an id or the daemon stops."""
        position = 0
        while self.cursor < until_id and not self.is_stopping():
            mailboxes = self._resolve_mailboxes()
            page = await self.reader.read_after(mailboxes, self.cursor, PAGE_MESSAGES, position, receipts=self.receipts)
            await self._write_page(page)
            self.cursor, position = page.cursor, page.position
            if not page.is_cut and self.cursor < until_id:
                await self.waiter.wait_and_reset()

    async def _write_undelivered(self, until_id: int) -> None:
        """Writes what is undelivered, up to an id or until the daemon stops."""
        while not self.is_stopping():
            mailboxes = self._resolve_mailboxes()
            assert mailboxes is not None
            page = await self.reader.read_undelivered(mailboxes, self.cursor, until_id, PAGE_MESSAGES)
            await self._write_page([announcement for announcement in page if announcement.id <= until_id])
            if not page.is_cut or page.cursor >= until_id:
                return
            self.cursor = max(self.cursor, page.cursor)

    async def _write_page(self, page: Sequence[Announcement]) -> None:
        """Writes a page's events; marks the written ones offered, also when the stream ends in between."""
        written = 0
        try:
            while written < len(page):
                events = await self._encode(page[written : written + self.max_batch])
                batch = page[written : written + len(events)]
                await self.write(join_events(events, batch[-1].id))
                written += len(events)  # gRPC has accepted them
                self.cursor = batch[-1].id
                if self._is_live:
                    self._record_streamed(batch)
        finally:
            if not self.observe:
                self._mark_offered(page[:written])

    async def _encode(self, announcements: Sequence[Announcement]) -> list[bytes]:
        """Returns the encoded events of one response: as many as it may carry, at least one."""
        events: list[bytes] = []
        room = MAX_BATCH_BYTES
        async with self.work.slot() as share:
            for announcement in announcements:
                event = self.encoder.find_encoded(announcement, self.preview_bytes)
                if event is None:
                    event = await self.encoder.encode_announcement(announcement, self.preview_bytes)
                    await share.yield_if_due()
                room -= len(event)
                if room < 0 and events:
                    break
                events.append(event)
        return events

    def _mark_offered(self, announcements: Sequence[Announcement]) -> None:
        offered: dict[str, list[int]] = {}
        for announcement in announcements:
            if not isinstance(announcement, Receipt) and announcement.state < DeliveryState.OFFERED:
                is_response = isinstance(announcement, Response)
                mailbox = announcement.agent if is_response else announcement.draft.recipient
                offered.setdefault(mailbox, []).append(announcement.id)
        for mailbox, message_ids in offered.items():
            new_ids = self.reader.record_offered(message_ids)
            if self._is_live:
                message_ids = new_ids  # the first of several live subscribers reports for all
            if message_ids:
                self.client.send_oneway(MarkOffered(mailbox, message_ids))

    def _record_streamed(self, announcements: Sequence[Announcement]) -> None:
        now = now_ms()
        for announcement in announcements:
            if isinstance(announcement, Message):
                self.metrics.observe(STREAM_SECONDS.at, (now - announcement.timestamp_ms) * 1_000_000)
                if log.is_debugging:
                    recipient = announcement.draft.recipient
                    log.debug("message streamed", message_id=format_id(announcement.id), recipient=recipient)
