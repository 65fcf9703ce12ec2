"""Bulk — many drafts on one stream: gathered into batches, kept until they are answered, sent again where that breaks.

`BlockingBulk` and `AsyncBulk` each own one stream at a time; `Batcher` and `Window` are what both know, and pure. Only
the few batches of the window are in memory, however many drafts there are.
Below `blocking` and `aio`. Invariant: outcomes come in the order of the drafts, one for each; a batch that is sent
again carries the same keys, so nothing is doubled.
"""

__all__ = ["AsyncBulk", "BlockingBulk"]

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from mailroom import calls
from mailroom.conversion import outcome_from
from mailroom.drafts import Draft
from mailroom.errors import MailroomError, Unavailable
from mailroom.messages import SendOutcome, SentMessage
from mailroom.retry import Retries
from mailroom.transport import AsyncExchange, AsyncTransport, BlockingExchange, BlockingTransport
from mailroom.v1 import mailroom_pb2 as pb

BATCH_MESSAGES = 250  # a group commit's worth; larger ones gain little and wait longer for their answer
BATCH_BYTES = 4 << 20  # the daemon takes 16 MiB at once; one draft has 1.1 MiB at most
BATCHES_ON_THE_WAY = 4  # enough for the daemon never to wait for us

Resend: TypeAlias = calls.Call[SentMessage]


@dataclass(frozen=True, slots=True)
class Entry:
    """One draft: what is asked for it, or why it could not even be asked."""

    recipient: str
    request: pb.SendMessageRequest | None
    refusal: MailroomError | None = None

    def settle(self, result: pb.SendResult | None) -> tuple[SendOutcome, Resend | None]:
        """Returns the outcome, and the same send as a call of its own where the daemon could not do it in time."""
        if self.request is None or result is None:
            return SendOutcome(self.recipient, None, self.refusal), None
        outcome = outcome_from(self.recipient, result)
        return outcome, calls.resend(self.request) if isinstance(outcome.error, Unavailable) else None


@dataclass(slots=True)
class Batch:
    """Drafts that travel together."""

    entries: list[Entry] = field(default_factory=list[Entry])
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be sent."""
        return len(self.entries) >= BATCH_MESSAGES or self.size_bytes >= BATCH_BYTES

    def request(self) -> pb.SendMessagesRequest:
        """Returns what is asked."""
        return pb.SendMessagesRequest(messages=[entry.request for entry in self.entries if entry.request])

    def settle(self, response: pb.SendMessagesResponse) -> list[tuple[SendOutcome, Resend | None]]:
        """Returns what became of each draft; see `Entry.settle`."""
        results = iter(response.results)
        return [entry.settle(next(results) if entry.request else None) for entry in self.entries]


class Batcher:
    """Gathers drafts.

    Args:
        default_sender: for drafts that name none.
    """

    def __init__(self, default_sender: str | None) -> None:
        self._default_sender = default_sender
        self._batch = Batch()

    def add(self, draft: Draft) -> Batch | None:
        """Takes a draft in; returns a batch when one is full. What cannot be sent is an outcome, not an error."""
        try:
            request = calls.draft_request(draft, self._default_sender)
            self._batch.size_bytes += request.ByteSize()
            self._batch.entries.append(Entry(draft.to, request))
        except MailroomError as refusal:
            self._batch.entries.append(Entry(draft.to, None, refusal))
        return self.rest() if self._batch.is_full else None

    def rest(self) -> Batch | None:
        """Returns what has gathered."""
        batch, self._batch = self._batch, Batch()
        return batch if batch.entries else None


class Window:
    """The batches that are on their way, oldest first."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent."""
        return len(self._batches) < BATCHES_ON_THE_WAY

    def add(self, batch: Batch) -> None:
        """Takes a batch in."""
        self._batches.append(batch)

    def requests(self) -> list[pb.SendMessagesRequest]:
        """Returns everything that is unanswered, for a new stream."""
        return [batch.request() for batch in self._batches]

    def settle(self, response: pb.SendMessagesResponse) -> list[tuple[SendOutcome, Resend | None]]:
        """Takes the answer to the oldest batch."""
        return self._batches.popleft().settle(response)


class BlockingBulk:
    """One bulk send.

    Args:
        transport: opens the streams.
        new_retries: for each answer that is waited for.
        resend: makes a call of its own, with retries.
    """

    def __init__(
        self,
        transport: BlockingTransport,
        new_retries: Callable[[], Retries],
        resend: Callable[[Resend], SentMessage],
    ) -> None:
        self._transport = transport
        self._new_retries = new_retries
        self._resend = resend
        self._window = Window()
        self._stream: BlockingExchange | None = None

    def outcomes(self, drafts: Iterable[Draft], default_sender: str | None) -> Iterator[SendOutcome]:
        """Sends the drafts and yields what became of them."""
        batches = _batches(drafts, Batcher(default_sender))
        try:
            while self._fill(batches):
                for outcome, retry in self._window.settle(self._answer()):
                    yield SendOutcome(outcome.recipient, self._resend(retry), None) if retry else outcome
        finally:
            self._drop_stream()

    def _fill(self, batches: Iterator[Batch]) -> bool:
        while self._window.has_room and (batch := next(batches, None)):
            self._window.add(batch)
            if self._stream:
                self._stream.put(batch.request())
        return bool(self._window)

    def _answer(self) -> pb.SendMessagesResponse:
        retries = self._new_retries()
        while True:
            try:
                return self._connected().get()
            except MailroomError as error:
                self._drop_stream()
                self._transport.pause(retries.delay_after(error))

    def _connected(self) -> BlockingExchange:
        if self._stream is None:
            self._stream = self._transport.open_bulk()
            for request in self._window.requests():
                self._stream.put(request)
        return self._stream

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.cancel()


class AsyncBulk:
    """One bulk send, for asyncio; its twin is BlockingBulk."""

    def __init__(
        self,
        transport: AsyncTransport,
        new_retries: Callable[[], Retries],
        resend: Callable[[Resend], Awaitable[SentMessage]],
    ) -> None:
        self._transport = transport
        self._new_retries = new_retries
        self._resend = resend
        self._window = Window()
        self._stream: AsyncExchange | None = None

    async def outcomes(
        self, drafts: Iterable[Draft] | AsyncIterable[Draft], default_sender: str | None
    ) -> AsyncIterator[SendOutcome]:
        """Sends the drafts and yields what became of them."""
        batches = _batches_async(drafts, Batcher(default_sender))
        try:
            while await self._fill(batches):
                for outcome, retry in self._window.settle(await self._answer()):
                    yield SendOutcome(outcome.recipient, await self._resend(retry), None) if retry else outcome
        finally:
            await self._drop_stream()

    async def _fill(self, batches: AsyncIterator[Batch]) -> bool:
        while self._window.has_room and (batch := await anext(batches, None)):
            self._window.add(batch)
            if self._stream:
                self._stream.put(batch.request())
        return bool(self._window)

    async def _answer(self) -> pb.SendMessagesResponse:
        retries = self._new_retries()
        while True:
            try:
                return await self._connected().get()
            except MailroomError as error:
                await self._drop_stream()
                await asyncio.sleep(retries.delay_after(error))

    def _connected(self) -> AsyncExchange:
        if self._stream is None:
            self._stream = self._transport.open_bulk()
            for request in self._window.requests():
                self._stream.put(request)
        return self._stream

    async def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            await stream.cancel()


def _batches(drafts: Iterable[Draft], batcher: Batcher) -> Iterator[Batch]:
    for draft in drafts:
        if batch := batcher.add(draft):
            yield batch
    if rest := batcher.rest():
        yield rest


async def _batches_async(drafts: Iterable[Draft] | AsyncIterable[Draft], batcher: Batcher) -> AsyncIterator[Batch]:
    if not isinstance(drafts, AsyncIterable):
        for batch in _batches(drafts, batcher):
            yield batch
        return
    async for draft in drafts:
        if batch := batcher.add(draft):
            yield batch
    if rest := batcher.rest():
        yield rest
