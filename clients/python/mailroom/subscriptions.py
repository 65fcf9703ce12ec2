"""Subscription and AsyncSubscription — iterators over events that reconnect and resume automatically.

Each owns one stream at a time, a cursor (no gaps, no repeats) and its retries (when to reconnect). It ends when it or
its client is closed, and raises only errors that a retry cannot resolve. Several events may arrive in one response; the
cursor moves with each event that is yielded, so a stream may be resumed in the middle of them.
"""

__all__ = ["AsyncSubscription", "Subscription"]

import asyncio
from types import TracebackType
from typing import Self

from mailroom import calls
from mailroom.cursor import Cursor
from mailroom.errors import ClientClosed, MailroomError, Unavailable
from mailroom.events import CaughtUp, Event, GoingAway, UnknownEvent
from mailroom.options import SubscribeOptions
from mailroom.retry import Contact, Retries
from mailroom.transport import AsyncStream, AsyncTransport, BlockingStream, BlockingTransport, is_task_cancelled
from mailroom.v1 import mailroom_pb2 as pb


class _Progress:
    """The state that both kinds of subscription share; performs no I/O."""

    def __init__(self, contact: Contact, agent: str | None, options: SubscribeOptions, grace_sec: float) -> None:
        self._agent = agent
        self._options = options
        self._retries = Retries(contact, grace_sec=grace_sec)
        self._live = False
        self._cursor = Cursor(
            after_id=options.get("after_id"),
            include_unread=options.get("include_unread", False),
            caught_up=options.get("caught_up", False),
        )

    def request(self) -> pb.SubscribeRequest:
        """Returns the request that starts or resumes the stream."""
        return calls.subscribe_request(self._agent, self._options, self._cursor)

    def receive(self, event: Event | GoingAway | UnknownEvent) -> Event | None:
        """Moves the cursor; returns the event if it is to be yielded.

        Raises:
            Unavailable: the daemon announced that it is stopping.
        """
        if isinstance(event, GoingAway):
            self._cursor.record_going_away(event)
            raise Unavailable("the daemon is stopping", reason="STOPPING")
        self._live = True
        is_wanted = self._cursor.admit(event)
        if is_wanted or isinstance(event, CaughtUp):  # a replay that always breaks at the same event is no progress
            self._retries.record_progress()
        return event if is_wanted and not isinstance(event, UnknownEvent) else None

    def delay_after(self, error: MailroomError) -> float:
        """Returns the delay before reconnecting, or raises the error. Reports the break if the stream had been live."""
        delay_sec = self._retries.delay_after(error)
        on_interrupted = self._options.get("on_interrupted")
        if on_interrupted and self._live:
            on_interrupted(error)
        self._live = False
        return delay_sec


def _stream_ended() -> Unavailable:
    return Unavailable("the daemon ended the stream", reason="STREAM_ENDED")


class Subscription:
    """A blocking iterator over events. Close it, or use it in a `with` statement; another thread may close it."""

    def __init__(
        self, transport: BlockingTransport, agent: str | None, options: SubscribeOptions, grace_sec: float
    ) -> None:
        self._transport = transport
        self._progress = _Progress(transport.contact, agent, options, grace_sec)
        self._stream: BlockingStream[Event | GoingAway | UnknownEvent] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the subscription or its client was closed."""
        return self._closed or self._transport.closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self.closed:
            try:
                return self._advance()
            except MailroomError as error:
                self._recover(error)
        raise StopIteration

    def close(self) -> None:
        """Cancels the stream; iteration ends."""
        self._closed = True
        self._drop_stream()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _advance(self) -> Event:
        stream = self._stream  # another thread may drop it
        if stream is None:
            stream = self._stream = self._transport.subscribe(self._progress.request())
            if self._closed:  # by another thread, before there was a stream to cancel
                raise ClientClosed
        for event in stream:
            if admitted := self._progress.receive(event):
                return admitted
        raise _stream_ended()

    def _recover(self, error: MailroomError) -> None:
        self._drop_stream()
        if self.closed:
            return
        try:
            delay_sec = self._progress.delay_after(error)
        except MailroomError:
            self._closed = True
            raise
        self._transport.pause(delay_sec)

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.cancel()


class AsyncSubscription:
    """An asynchronous iterator over events. Close it, or use it in an `async with` statement.

    Cancelling `anext()`, for instance by a timeout, loses no event: the next call resumes the stream.
    """

    def __init__(
        self, transport: AsyncTransport, agent: str | None, options: SubscribeOptions, grace_sec: float
    ) -> None:
        self._transport = transport
        self._progress = _Progress(transport.contact, agent, options, grace_sec)
        self._stream: AsyncStream[Event | GoingAway | UnknownEvent] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the subscription or its client was closed."""
        return self._closed or self._transport.closed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self.closed:
            try:
                return await self._advance()
            except MailroomError as error:
                await self._recover(error)
            except asyncio.CancelledError:
                await self._drop_stream()
                if not self.closed or is_task_cancelled():
                    raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancels the stream; iteration ends."""
        self._closed = True
        await self._drop_stream()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _advance(self) -> Event:
        if self._stream is None:
            self._stream = self._transport.subscribe(self._progress.request())
        async for event in self._stream:
            if admitted := self._progress.receive(event):
                return admitted
        raise _stream_ended()

    async def _recover(self, error: MailroomError) -> None:
        await self._drop_stream()
        if self.closed:
            return
        try:
            delay_sec = self._progress.delay_after(error)
        except MailroomError:
            self._closed = True
            raise
        await asyncio.sleep(delay_sec)

    async def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            await stream.cancel()
