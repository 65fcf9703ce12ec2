"""Bulk — sends many drafts on one stream: groups them into batches, and sends unanswered batches again on a new stream.

`BlockingBulk` and `AsyncBulk` each own one stream at a time; they share `Batcher` and `Window`, which are pure. Memory
holds only the batches of the window, however many drafts there are.
Below `blocking` and `aio`. Invariant: there is one outcome for each draft, in the order of the drafts; a batch that is
sent again carries the same idempotency keys, so no message is duplicated.
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

BATCH_MESSAGES = 250  # about one group commit; larger batches gain little and add latency
BATCH_BYTES = 4 << 20  # the daemon accepts 16 MiB per request; one draft has at most 1.1 MiB
MAX_BATCHES_IN_FLIGHT = 4  # enough that the daemon never waits for the client

Resend: TypeAlias = calls.Call[SentMessage]


@dataclass(frozen=True, slots=True)
class Entry:
    """One draft: its request, or the reason why no request could be built."""

    recipient: str
    request: pb.SendMessageRequest | None
    refusal: MailroomError | None = None

    def resolve(self, result: pb.SendResult | None) -> tuple[SendOutcome, Resend | None]:
        """Returns the outcome and, if the daemon could not store the message in time, a call that sends it again."""
        if self.request is None or result is None:
            return SendOutcome(self.recipient, None, self.refusal), None
        outcome = outcome_from(self.recipient, result)
        return outcome, calls.resend(self.request) if isinstance(outcome.error, Unavailable) else None


@dataclass(slots=True)
class Batch:
    """Drafts that are sent in one request."""

    entries: list[Entry] = field(default_factory=list[Entry])
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the batch should be sent now."""
        return len(self.entries) >= BATCH_MESSAGES or self.size_bytes >= BATCH_BYTES

    def request(self) -> pb.SendMessagesRequest:
        """Returns the batch as a request."""
        return pb.SendMessagesRequest(messages=[entry.request for entry in self.entries if entry.request])

    def resolve(self, response: pb.SendMessagesResponse) -> list[tuple[SendOutcome, Resend | None]]:
        """Returns the outcome of each draft; see `Entry.resolve`."""
        results = iter(response.results)
        return [entry.resolve(next(results) if entry.request else None) for entry in self.entries]


class Batcher:
    """Groups drafts into batches.

    Args:
        default_sender: the sender of drafts that do not name one.
    """

    def __init__(self, default_sender: str | None) -> None:
        self._default_sender = default_sender
        self._batch = Batch()

    def add_draft(self, draft: Draft) -> Batch | None:
        """Adds a draft; returns the batch if it is full. An invalid draft becomes an outcome, not an error."""
        try:
            request = calls.draft_request(draft, self._default_sender)
            self._batch.size_bytes += request.ByteSize()
            self._batch.entries.append(Entry(draft.to, request))
        except MailroomError as refusal:
            self._batch.entries.append(Entry(draft.to, None, refusal))
        return self.take_batch() if self._batch.is_full else None

    def take_batch(self) -> Batch | None:
        """Returns the drafts gathered so far as a batch, or None if there are none."""
        batch, self._batch = self._batch, Batch()
        return batch if batch.entries else None


class Window:
    """The unanswered batches, oldest first."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent."""
        return len(self._batches) < MAX_BATCHES_IN_FLIGHT

    def push(self, batch: Batch) -> None:
        """Adds a batch that is about to be sent."""
        self._batches.append(batch)

    def requests(self) -> list[pb.SendMessagesRequest]:
        """Returns the unanswered batches as requests, for a new stream."""
        return [batch.request() for batch in self._batches]

    def resolve_oldest(self, response: pb.SendMessagesResponse) -> list[tuple[SendOutcome, Resend | None]]:
        """Removes the oldest batch and returns its outcomes."""
        return self._batches.popleft().resolve(response)


class BlockingBulk:
    """One bulk send.

    Args:
        transport: opens the streams.
        new_retries: makes the retries for one expected response.
        resend: sends one message with a call of its own, including retries.
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
        """Sends the drafts and yields their outcomes."""
        batches = _batches(drafts, Batcher(default_sender))
        try:
            while self._fill(batches):
                for outcome, retry in self._window.resolve_oldest(self._receive_response()):
                    yield SendOutcome(outcome.recipient, self._resend(retry), None) if retry else outcome
        finally:
            self._drop_stream()

    def _fill(self, batches: Iterator[Batch]) -> bool:
        while self._window.has_room and (batch := next(batches, None)):
            self._window.push(batch)
            if self._stream:
                self._stream.send_request(batch.request())
        return bool(self._window)

    def _receive_response(self) -> pb.SendMessagesResponse:
        retries = self._new_retries()
        while True:
            try:
                return self._open_stream().receive_response()
            except MailroomError as error:
                self._drop_stream()
                self._transport.pause(retries.delay_after(error))

    def _open_stream(self) -> BlockingExchange:
        if self._stream is None:
            self._stream = self._transport.open_bulk()
            for request in self._window.requests():
                self._stream.send_request(request)
        return self._stream

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.cancel()


class AsyncBulk:
    """One bulk send for asyncio; its twin is BlockingBulk."""

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
        """Sends the drafts and yields their outcomes."""
        batches = _batches_async(drafts, Batcher(default_sender))
        try:
            while await self._fill(batches):
                for outcome, retry in self._window.resolve_oldest(await self._receive_response()):
                    yield SendOutcome(outcome.recipient, await self._resend(retry), None) if retry else outcome
        finally:
            await self._drop_stream()

    async def _fill(self, batches: AsyncIterator[Batch]) -> bool:
        while self._window.has_room and (batch := await anext(batches, None)):
            self._window.push(batch)
            if self._stream:
                self._stream.send_request(batch.request())
        return bool(self._window)

    async def _receive_response(self) -> pb.SendMessagesResponse:
        retries = self._new_retries()
        while True:
            try:
                return await self._open_stream().receive_response()
            except MailroomError as error:
                await self._drop_stream()
                await asyncio.sleep(retries.delay_after(error))

    def _open_stream(self) -> AsyncExchange:
        if self._stream is None:
            self._stream = self._transport.open_bulk()
            for request in self._window.requests():
                self._stream.send_request(request)
        return self._stream

    async def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            await stream.cancel()


def _batches(drafts: Iterable[Draft], batcher: Batcher) -> Iterator[Batch]:
    for draft in drafts:
        if batch := batcher.add_draft(draft):
            yield batch
    if batch := batcher.take_batch():
        yield batch


async def _batches_async(drafts: Iterable[Draft] | AsyncIterable[Draft], batcher: Batcher) -> AsyncIterator[Batch]:
    if not isinstance(drafts, AsyncIterable):
        for batch in _batches(drafts, batcher):
            yield batch
        return
    async for draft in drafts:
        if batch := batcher.add_draft(draft):
            yield batch
    if batch := batcher.take_batch():
        yield batch
