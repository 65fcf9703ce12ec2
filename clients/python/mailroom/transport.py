"""BlockingTransport and AsyncTransport — single attempts at calls and streams, in terms of the SDK's own values.

What leaves this module are records, events and MailroomErrors; nothing of gRPC does. `closed` tells "you closed it"
from "it broke". Not here: whether to try again (`retry`).
"""

__all__ = [
    "AsyncExchange",
    "AsyncStream",
    "AsyncTransport",
    "BlockingExchange",
    "BlockingStream",
    "BlockingTransport",
    "is_task_cancelled",
]

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, cast

import grpc
import grpc.aio

from mailroom.calls import Call, Service
from mailroom.channels import Channels
from mailroom.conversion import event_from
from mailroom.credentials import Credentials
from mailroom.errors import ClientClosed, MailroomError, Unavailable
from mailroom.events import Event, GoingAway
from mailroom.retry import Contact
from mailroom.v1 import mailroom_pb2 as pb

Result = TypeVar("Result")


class BlockingTransport:
    """The transport of `Mailroom`. Threads may share it."""

    def __init__(self, address: str | None, credentials: Credentials) -> None:
        self._channels = Channels(address, credentials, grpc.insecure_channel, grpc.secure_channel)
        self._closing = threading.Event()

    @property
    def contact(self) -> Contact:
        """What is known of the daemon."""
        return self._channels.contact

    @property
    def closed(self) -> bool:
        """Whether the program closed it."""
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
            raise self._channels.failure(error) from error
        except ValueError as error:  # how gRPC says that another thread closed the channel
            raise ClientClosed from error
        self.contact.answered = True
        return call.read(response)

    def subscribe(self, request: pb.SubscribeRequest) -> "BlockingStream[Event | GoingAway]":
        """Opens one stream; a failure shows when it is read."""
        method = self._channels.method(Service.MAILBOX, "Subscribe")
        try:
            return BlockingStream(method(request), self._channels, event_from)
        except ValueError as error:
            raise ClientClosed from error

    def open_bulk(self) -> "BlockingExchange":
        """Opens one stream of SendMessages; a failure shows when it is read."""
        method = self._channels.method(Service.MAILBOX, "SendMessages")
        try:
            return BlockingExchange(method, self._channels)
        except ValueError as error:
            raise ClientClosed from error

    def pause(self, delay_sec: float) -> None:
        """Sleeps, at most until the transport is closed."""
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
        """What is known of the daemon."""
        return self._channels.contact

    @property
    def closed(self) -> bool:
        """Whether the program closed it."""
        return self._channels.closed

    async def invoke(self, call: Call[Result], timeout_sec: float) -> Result:
        """Makes one attempt.

        Raises:
            MailroomError: the typed failure.
        """
        method = self._channels.method(call.service, call.rpc)
        try:
            response = await _finished(method(call.request, timeout=timeout_sec))
        except grpc.RpcError as error:
            raise self._channels.failure(error) from error
        except asyncio.CancelledError as cancellation:  # also what pending calls get when the channel is closed
            if self.closed and not is_task_cancelled():
                raise ClientClosed from cancellation
            raise
        self.contact.answered = True
        return call.read(response)

    def subscribe(self, request: pb.SubscribeRequest) -> "AsyncStream[Event | GoingAway]":
        """Opens one stream; a failure shows when it is read."""
        call = self._channels.method(Service.MAILBOX, "Subscribe")(request)
        return AsyncStream(call, self._channels, event_from)

    def open_bulk(self) -> "AsyncExchange":
        """Opens one stream of SendMessages; a failure shows when it is read."""
        return AsyncExchange(self._channels.method(Service.MAILBOX, "SendMessages"), self._channels)

    async def close(self) -> None:
        """Ends every call and closes the channels."""
        for channel in self._channels.close():
            await channel.close()


async def _finished(call: Awaitable[Any]) -> Any:
    """Awaits a call, and lets a cancellation of this task through as it is.

    gRPC puts one of its own without a message in its place (grpc #43502). anyio tells by the message whose a
    cancellation is: with a stranger's it ends the whole task group around it, silently.
    """
    ended = asyncio.ensure_future(call)
    try:
        await asyncio.wait((ended,))
    except asyncio.CancelledError:
        ended.cancel()
        raise
    return ended.result()


def is_task_cancelled() -> bool:
    """Returns whether a CancelledError is meant for the running task, not just for a call that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _BlockingCall(Protocol):
    def __iter__(self) -> Iterator[Any]: ...
    def cancel(self) -> object: ...


class BlockingStream(Generic[Result]):
    """The answers of one call: an iterator that raises MailroomErrors. What `read` gives None for is passed over."""

    def __init__(
        self, call: _BlockingCall, channels: Channels[grpc.Channel], read: Callable[[Any], Result | None]
    ) -> None:
        self._call = call
        self._read = read
        self._responses = iter(call)
        self._channels = channels

    def __iter__(self) -> "BlockingStream[Result]":
        return self

    def __next__(self) -> Result:
        event = None
        while event is None:  # of a kind that only newer daemons know
            try:
                event = self._read(next(self._responses))
            except grpc.RpcError as error:
                raise self._channels.failure(error) from error
            self._channels.contact.answered = True
        return event

    def cancel(self) -> None:
        """Gives the call up."""
        self._call.cancel()


class _AsyncCall(Protocol):
    def __aiter__(self) -> AsyncGenerator[Any, None]: ...
    def cancel(self) -> object: ...


class AsyncStream(Generic[Result]):
    """The answers of one streaming call, like BlockingStream's."""

    def __init__(
        self, call: _AsyncCall, channels: Channels[grpc.aio.Channel], read: Callable[[Any], Result | None]
    ) -> None:
        self._call = call
        self._read = read
        self._responses = aiter(call)
        self._channels = channels

    def __aiter__(self) -> "AsyncStream[Result]":
        return self

    async def __anext__(self) -> Result:
        event = None
        while event is None:
            try:
                event = self._read(await anext(self._responses))
            except grpc.RpcError as error:
                raise self._channels.failure(error) from error
            self._channels.contact.answered = True
        return event

    async def cancel(self) -> None:
        """Gives the call up."""
        self._call.cancel()
        with suppress(RuntimeError):  # another task is reading: it gets the cancellation
            await self._responses.aclose()


def _bulk_answer(response: object) -> pb.SendMessagesResponse:
    return cast("pb.SendMessagesResponse", response)


def _bulk_ended() -> Unavailable:
    return Unavailable("the daemon ended the stream", reason="STREAM_ENDED")


class BlockingExchange:
    """One SendMessages call: what is put is sent by gRPC's own thread, answers are got one by one."""

    def __init__(self, method: Callable[..., Any], channels: Channels[grpc.Channel]) -> None:
        self._requests: SimpleQueue[pb.SendMessagesRequest | None] = SimpleQueue()
        self._answers = BlockingStream(method(iter(self._requests.get, None)), channels, _bulk_answer)

    def put(self, request: pb.SendMessagesRequest) -> None:
        """Sends a batch as soon as there is room on the way; never waits."""
        self._requests.put(request)

    def get(self) -> pb.SendMessagesResponse:
        """Returns the next answer.

        Raises:
            MailroomError: the typed failure.
        """
        for answer in self._answers:
            return answer
        raise _bulk_ended()

    def cancel(self) -> None:
        """Gives the call up."""
        self._requests.put(None)  # gRPC's thread waits there
        self._answers.cancel()


class AsyncExchange:
    """One SendMessages call: what is put is sent by a task of gRPC's, answers are got one by one."""

    def __init__(self, method: Callable[..., Any], channels: Channels[grpc.aio.Channel]) -> None:
        self._requests: asyncio.Queue[pb.SendMessagesRequest] = asyncio.Queue()
        self._answers = AsyncStream(method(self._taken()), channels, _bulk_answer)

    async def _taken(self) -> AsyncGenerator[pb.SendMessagesRequest, None]:
        while True:
            yield await self._requests.get()

    def put(self, request: pb.SendMessagesRequest) -> None:
        """Sends a batch as soon as there is room on the way; never waits."""
        self._requests.put_nowait(request)

    async def get(self) -> pb.SendMessagesResponse:
        """Returns the next answer.

        Raises:
            MailroomError: the typed failure.
        """
        try:
            async for answer in self._answers:
                return answer
        except MailroomError as error:
            if error.code == "INTERNAL" and not error.reason:  # it overwrote the daemon's own status (grpc #36066)
                raise _bulk_ended() from error
            raise
        raise _bulk_ended()

    async def cancel(self) -> None:
        """Gives the call up."""
        await self._answers.cancel()
