"""BlockingTransport and AsyncTransport — make single attempts at calls and streams.

Only records, events and MailroomErrors leave this module, never gRPC's own types. `closed` distinguishes a client that
its program closed from a broken connection. Not here: whether to try again (`retry`).
"""

__all__ = [
    "STREAM_IDLE_SEC",
    "AsyncExchange",
    "AsyncStream",
    "AsyncTransport",
    "BlockingExchange",
    "BlockingStream",
    "BlockingTransport",
    "is_task_cancelled",
    "stream_ended",
]

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, cast

import grpc
import grpc.aio

from mailroom.calls import Call, Service
from mailroom.channels import Channels
from mailroom.conversion import events_from
from mailroom.credentials import Credentials
from mailroom.errors import ClientClosed, MailroomError, Unavailable
from mailroom.events import Event, GoingAway, UnknownEvent
from mailroom.retry import Contact
from mailroom.v1 import mailroom_pb2 as pb

Result = TypeVar("Result")

STREAM_IDLE_SEC = 0.2  # without a request: longer than the pauses within one burst, short beside a daemon's stop


class BlockingTransport:
    """The transport of `Mailroom`. Threads may share it."""

    def __init__(self, address: str | None, credentials: Credentials) -> None:
        self._channels = Channels(address, credentials, grpc.insecure_channel, grpc.secure_channel)
        self._closing = threading.Event()

    @property
    def contact(self) -> Contact:
        """What this client knows about the daemon."""
        return self._channels.contact

    @property
    def closed(self) -> bool:
        """Whether the program closed the client."""
        return self._channels.closed

    def invoke(self, call: Call[Result], timeout_sec: float) -> Result:
        """Makes one attempt.

        Raises:
            MailroomError: the typed failure.
        """
        method = self._channels.method(call.service, call.rpc)
        try:
            response = method(call.request, timeout=timeout_sec)
        except grpc.RpcError as error:
            raise self._channels.to_error(error) from error
        except ValueError as error:  # raised by gRPC if another thread closed the channel
            raise ClientClosed from error
        self.contact.answered = True
        return call.read(response)

    def subscribe(self, request: pb.SubscribeRequest) -> "BlockingStream[Event | GoingAway | UnknownEvent]":
        """Opens one stream. A failure is raised when the stream is read."""
        method = self._channels.method(Service.MAILBOX, "Subscribe")
        try:
            return BlockingStream(method(request), self._channels, events_from)
        except ValueError as error:
            raise ClientClosed from error

    def open_bulk(self, may_end: "Callable[[BlockingExchange], bool] | None" = None) -> "BlockingExchange":
        """Opens one SendMessages stream. A failure is raised when the stream is read.

        Args:
            may_end: called each time that no request has come for STREAM_IDLE_SEC; returns whether the stream may end.
        """
        method = self._channels.method(Service.MAILBOX, "SendMessages")
        try:
            return BlockingExchange(method, self._channels, may_end)
        except ValueError as error:
            raise ClientClosed from error

    def pause(self, delay_sec: float) -> None:
        """Sleeps until the delay has passed or the transport is closed."""
        self._closing.wait(delay_sec)

    def close(self) -> None:
        """Ends every call and closes the channels."""
        for channel in self._channels.close():
            channel.close()
        self._closing.set()


class AsyncTransport:
    """The transport of `AsyncMailroom`, for one event loop."""

    def __init__(self, address: str | None, credentials: Credentials) -> None:
        self._channels = Channels(address, credentials, grpc.aio.insecure_channel, grpc.aio.secure_channel)

    @property
    def contact(self) -> Contact:
        """What this client knows about the daemon."""
        return self._channels.contact

    @property
    def closed(self) -> bool:
        """Whether the program closed the client."""
        return self._channels.closed

    async def invoke(self, call: Call[Result], timeout_sec: float) -> Result:
        """Makes one attempt.

        Raises:
            MailroomError: the typed failure.
        """
        method = self._channels.method(call.service, call.rpc)
        try:
            response = await _await_call(method(call.request, timeout=timeout_sec))
        except grpc.RpcError as error:
            raise self._channels.to_error(error) from error
        except asyncio.CancelledError as cancellation:  # also raised in pending calls if the channel is closed
            if self.closed and not is_task_cancelled():
                raise ClientClosed from cancellation
            raise
        self.contact.answered = True
        return call.read(response)

    def subscribe(self, request: pb.SubscribeRequest) -> "AsyncStream[Event | GoingAway | UnknownEvent]":
        """Opens one stream. A failure is raised when the stream is read."""
        call = self._channels.method(Service.MAILBOX, "Subscribe")(request)
        return AsyncStream(call, self._channels, events_from)

    def open_bulk(self, may_end: "Callable[[AsyncExchange], bool] | None" = None) -> "AsyncExchange":
        """Opens one SendMessages stream; see `BlockingTransport.open_bulk`."""
        return AsyncExchange(self._channels.method(Service.MAILBOX, "SendMessages"), self._channels, may_end)

    async def close(self) -> None:
        """Ends every call and closes the channels."""
        for channel in self._channels.close():
            await channel.close()


async def _await_call(call: Awaitable[Any]) -> Any:
    """Awaits a call and passes a cancellation of this task on unchanged.

    gRPC would replace the CancelledError by one without a message (grpc #43502). anyio identifies its own cancellations
    by their message; for an unknown one it silently ends the whole surrounding task group.
    """
    future = asyncio.ensure_future(call)
    try:
        await asyncio.wait((future,))
    except asyncio.CancelledError:
        future.cancel()
        raise
    return future.result()


def is_task_cancelled() -> bool:
    """Returns whether the running task itself is being cancelled, rather than a call that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _BlockingCall(Protocol):
    def __iter__(self) -> Iterator[Any]: ...
    def cancel(self) -> object: ...


class BlockingStream(Generic[Result]):
    """The results of one call, as an iterator that raises MailroomErrors. `read` returns those of one response."""

    def __init__(
        self, call: _BlockingCall, channels: Channels[grpc.Channel], read: Callable[[Any], Iterable[Result]]
    ) -> None:
        self._call = call
        self._read = read
        self._responses = iter(call)
        self._results: Iterator[Result] = iter(())  # of the last response
        self._channels = channels

    def __iter__(self) -> "BlockingStream[Result]":
        return self

    def __next__(self) -> Result:
        while True:
            for result in self._results:
                return result
            try:
                response = next(self._responses)
            except grpc.RpcError as error:
                raise self._channels.to_error(error) from error
            self._channels.contact.answered = True
            self._results = iter(self._read(response))

    def cancel(self) -> None:
        """Cancels the call."""
        self._call.cancel()


class _AsyncCall(Protocol):
    def __aiter__(self) -> AsyncGenerator[Any, None]: ...
    def cancel(self) -> object: ...


class AsyncStream(Generic[Result]):
    """The results of one call, as an asynchronous iterator; its twin is BlockingStream."""

    def __init__(
        self, call: _AsyncCall, channels: Channels[grpc.aio.Channel], read: Callable[[Any], Iterable[Result]]
    ) -> None:
        self._call = call
        self._read = read
        self._responses = aiter(call)
        self._results: Iterator[Result] = iter(())
        self._channels = channels

    def __aiter__(self) -> "AsyncStream[Result]":
        return self

    async def __anext__(self) -> Result:
        while True:
            for result in self._results:
                return result
            try:
                response = await anext(self._responses)
            except grpc.RpcError as error:
                raise self._channels.to_error(error) from error
            self._channels.contact.answered = True
            self._results = iter(self._read(response))

    async def cancel(self) -> None:
        """Cancels the call."""
        self._call.cancel()
        with suppress(RuntimeError):  # another task is reading and receives the cancellation
            await self._responses.aclose()


def _bulk_response(response: object) -> tuple[pb.SendMessagesResponse]:
    return (cast("pb.SendMessagesResponse", response),)


def stream_ended() -> Unavailable:
    """Returns the error for a stream that ended before its last answer."""
    return Unavailable("the daemon ended the stream", reason="STREAM_ENDED")


class BlockingExchange:
    """One SendMessages call. A thread of gRPC sends the requests; responses are received one by one."""

    def __init__(
        self,
        method: Callable[..., Any],
        channels: Channels[grpc.Channel],
        may_end: "Callable[[BlockingExchange], bool] | None" = None,
    ) -> None:
        self._requests: SimpleQueue[pb.SendMessagesRequest | None] = SimpleQueue()
        self._may_end = may_end
        self._responses = BlockingStream(method(self._drain_requests()), channels, _bulk_response)

    def _drain_requests(self) -> Iterator[pb.SendMessagesRequest]:
        idle_sec = STREAM_IDLE_SEC if self._may_end else None
        while True:
            try:
                request = self._requests.get(timeout=idle_sec)
            except Empty:
                if self._may_end and self._may_end(self):
                    return
                continue
            if request is None:
                return
            yield request

    def send_request(self, request: pb.SendMessagesRequest) -> None:
        """Queues a batch to be sent as soon as flow control allows. Never waits."""
        self._requests.put(request)

    def receive_response(self) -> pb.SendMessagesResponse:
        """Returns the next response.

        Raises:
            MailroomError: the typed failure.
        """
        for response in self._responses:
            return response
        raise stream_ended()

    def cancel(self) -> None:
        """Cancels the call."""
        self._requests.put(None)  # ends the thread of gRPC that waits for requests
        self._responses.cancel()


class AsyncExchange:
    """One SendMessages call. A task of gRPC sends the requests; responses are received one by one."""

    def __init__(
        self,
        method: Callable[..., Any],
        channels: Channels[grpc.aio.Channel],
        may_end: "Callable[[AsyncExchange], bool] | None" = None,
    ) -> None:
        self._requests: asyncio.Queue[pb.SendMessagesRequest] = asyncio.Queue()
        self._may_end = may_end
        self._responses = AsyncStream(method(self._drain_requests()), channels, _bulk_response)

    async def _drain_requests(self) -> AsyncGenerator[pb.SendMessagesRequest, None]:
        idle_sec = STREAM_IDLE_SEC if self._may_end else None
        while True:
            try:
                async with asyncio.timeout(idle_sec):
                    request = await self._requests.get()
            except TimeoutError:
                if self._may_end and self._may_end(self):
                    return
                continue
            yield request

    def send_request(self, request: pb.SendMessagesRequest) -> None:
        """Queues a batch to be sent as soon as flow control allows. Never waits."""
        self._requests.put_nowait(request)

    async def receive_response(self) -> pb.SendMessagesResponse:
        """Returns the next response.

        Raises:
            MailroomError: the typed failure.
        """
        try:
            async for response in self._responses:
                return response
        except MailroomError as error:
            if error.code == "INTERNAL" and not error.reason:  # gRPC lost the daemon's own status (grpc #36066)
                raise stream_ended() from error
            raise
        raise stream_ended()

    async def cancel(self) -> None:
        """Cancels the call."""
        await self._responses.cancel()
