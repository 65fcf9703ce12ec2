"""Subscription — one Subscribe stream: a cursor that reads on whenever its bell rings.

Owns the replay, the change from replay to live, and saying which messages were handed over (after they were written to
the stream, never for an observer). Not here: reading (`MailReader`), waking (`Bells`), bytes (`EventEncoder`).
Invariant: every message above the cursor comes once, in order of id; nothing is queued for a slow reader.
"""

__all__ = ["Subscription"]

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from mailroomd.ipc.packets import MarkOffered
from mailroomd.model.ids import MAX_ID
from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState
from mailroomd.rpc.bells import Bell
from mailroomd.rpc.calls import Calls
from mailroomd.rpc.encoding import EventEncoder
from mailroomd.rpc.mail_reader import MailReader

PAGE = 64  # messages read at once: bounds what a stream holds, and how long it keeps the loop


@dataclass(slots=True)
class Subscription:
    """One stream.

    Attributes:
        agent: whose messages; None for every mailbox.
        cursor: everything up to this id has been seen, or is not wanted.
        include_unread: replay what is unread first.
        observe: hands nothing over.
    """

    reader: MailReader
    encoder: EventEncoder
    calls: Calls
    bell: Bell
    agent: str | None
    cursor: int
    include_unread: bool
    observe: bool
    is_stopping: Callable[[], bool]

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yields serialized events: the replay, CaughtUp, then what comes; GoingAway when the daemon stops."""
        start = self.reader.mark
        async with aclosing(self._unread(start) if self.include_unread else self._since(until=start)) as replay:
            async for page in replay:
                async for event in self._write(page):
                    yield event
        if not self.is_stopping():
            self.cursor = max(self.cursor, start)
            yield self.encoder.caught_up(self.cursor)
        async with aclosing(self._since(until=MAX_ID)) as live:
            async for page in live:
                async for event in self._write(page):
                    yield event
        yield self.encoder.going_away(self.cursor)

    async def _since(self, until: int) -> AsyncGenerator[list[Message], None]:
        """Yields pages of what comes after the cursor, until it has reached an id or the daemon stops."""
        position = 0
        while self.cursor < until and not self.is_stopping():
            page = await self.reader.after(self.agent, self.cursor, PAGE, position)
            yield page
            self.cursor, position = page.cursor, page.position
            if not page.is_cut and self.cursor < until:
                await self.bell.wait_and_reset()

    async def _unread(self, until: int) -> AsyncGenerator[list[Message], None]:
        """Yields pages of what is unread, up to an id or until the daemon stops."""
        assert self.agent is not None
        while not self.is_stopping():
            found = await self.reader.unread(self.agent, PAGE, after=self.cursor)
            yield [one for one in found if one.id <= until]
            if not found.is_cut or found[-1].id > until:
                return

    async def _write(self, page: list[Message]) -> AsyncGenerator[bytes, None]:
        """Yields a page's events, and notes which were handed over, also when the stream ends in between."""
        handed_over: list[int] = []
        try:
            for message in page:
                yield self.encoder.message(message)
                self.cursor = message.id  # the generator goes on when gRPC has taken the event
                if message.state < DeliveryState.OFFERED:
                    handed_over.append(message.id)
        finally:
            if handed_over and not self.observe and self.agent is not None:
                self.calls.tell(MarkOffered(0, self.agent, handed_over))
                self.reader.note_offered(handed_over)
