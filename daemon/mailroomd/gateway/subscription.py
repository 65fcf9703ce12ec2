"""Subscription — one Subscribe stream: a cursor that reads on whenever its bell rings.

Owns the replay, the change from replay to live, and saying what was handed over (after it was written to the stream,
never for an observer). Which mailboxes a name stands for is asked at every page, as aliases come and go.
Not here: reading (`MailReader`), waking (`Wakeups`), bytes (`EventEncoder`).
Invariant: everything above the cursor comes once, in the one order; nothing is queued for a slow reader.
"""

__all__ = ["Subscription"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailroomd.gateway.encoding import EventEncoder
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient
from mailroomd.gateway.request_guard import Write
from mailroomd.gateway.wakeups import EVERYTHING, Waiter, Wakeups, causes
from mailroomd.model.announcement import Announcement, Receipt, Response
from mailroomd.model.clock import now_ms
from mailroomd.model.ids import MAX_ID, format_id
from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import STREAM_SECONDS
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.packets import MarkOffered

PAGE = 64  # messages read at once: bounds what a stream holds, and how long it keeps the loop


@dataclass(slots=True)
class Subscription:
    """One stream.

    Attributes:
        mailboxes: returns whose mail; None for every mailbox.
        cursor: everything up to this id has been seen, or is not wanted.
        include_unread: replay what was not taken yet first.
        receipts: also receipts for the senders of these names.
        observe: hands nothing over.
        write: takes a serialized event, and returns when gRPC has room for the next one.
    """

    reader: MailReader
    encoder: EventEncoder
    calls: MailboxClient
    wakeups: Wakeups
    metrics: MetricsBlock
    bell: Waiter
    mailboxes: Callable[[], Sequence[str] | None]
    cursor: int
    include_unread: bool
    receipts: bool
    observe: bool
    is_stopping: Callable[[], bool]
    write: Write
    _is_live: bool = False

    async def run(self) -> None:
        """Writes the replay, CaughtUp, then what comes; GoingAway when the daemon stops."""
        start = self.reader.mark
        await (self._write_waiting(start) if self.include_unread else self._follow(until=start))
        if not self.is_stopping():
            self.cursor = max(self.cursor, start)
            await self.write(self.encoder.caught_up(self.cursor))
        self._is_live = True
        await self._follow(until=MAX_ID)
        await self.write(self.encoder.going_away(self.cursor))

    def _look(self) -> Sequence[str] | None:
        """Returns whose mail to read now, and hangs the bell for it."""
        mailboxes = self.mailboxes()
        wanted = EVERYTHING if mailboxes is None else causes(mailboxes, receipts=self.receipts)
        if self.bell.topics != wanted:
            self.wakeups.hang(self.bell, wanted)
        return mailboxes

    async def _follow(self, until: int) -> None:
        """Writes what comes after the cursor, until it has reached an id or the daemon stops."""
        position = 0
        while self.cursor < until and not self.is_stopping():
            mailboxes = self._look()
            page = await self.reader.after(mailboxes, self.cursor, PAGE, position, receipts=self.receipts)
            await self._write_page(page)
            self.cursor, position = page.cursor, page.position
            if not page.is_cut and self.cursor < until:
                await self.bell.wait_and_reset()

    async def _write_waiting(self, until: int) -> None:
        """Writes what was not taken yet, up to an id or until the daemon stops."""
        while not self.is_stopping():
            mailboxes = self._look()
            assert mailboxes is not None
            page = await self.reader.waiting(mailboxes, self.cursor, until, PAGE)
            await self._write_page([one for one in page if one.id <= until])
            if not page.is_cut or page.cursor >= until:
                return
            self.cursor = max(self.cursor, page.cursor)

    async def _write_page(self, page: Sequence[Announcement]) -> None:
        """Writes a page's events, and notes which were handed over, also when the stream ends in between."""
        handed_over: dict[str, list[int]] = {}
        try:
            for one in page:
                await self.write(self.encoder.announcement(one))
                self.cursor = one.id  # gRPC has taken the event
                if self._is_live and isinstance(one, Message):
                    self._note_streamed(one)
                if not isinstance(one, Receipt) and one.state < DeliveryState.OFFERED:
                    mailbox = one.agent if isinstance(one, Response) else one.draft.recipient
                    handed_over.setdefault(mailbox, []).append(one.id)
        finally:
            if not self.observe:
                for mailbox, numbers in handed_over.items():
                    self._note_handed_over(mailbox, numbers)

    def _note_handed_over(self, mailbox: str, numbers: list[int]) -> None:
        news = self.reader.note_offered(numbers)
        told = news if self._is_live else numbers  # of many live subscribers, the first says it for all
        if told:
            self.calls.tell(MarkOffered(0, mailbox, told))

    def _note_streamed(self, message: Message) -> None:
        self.metrics.observe(STREAM_SECONDS.at, (now_ms() - message.timestamp_ms) * 1_000_000)
        if log.is_debugging:
            recipient = message.draft.recipient
            log.debug("message streamed", message_id=format_id(message.id), recipient=recipient)
