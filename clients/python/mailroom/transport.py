"""BlockingTransport and AsyncTransport — single attempts at calls and streams, in terms of the SDK's own values.

What leaves this module are records, events and MailroomErrors; nothing of gRPC does. `closed` tells "you closed it"
from "it broke". Not here: whether to try again (`retry`).
"""

__all__ = ["AsyncStream", "AsyncTransport", "BlockingStream", "BlockingTransport"]

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from mailroom.calls import Call, Service
from mailroom.channels import CHANNEL_OPTIONS, Channels
from mailroom.conversion import event_from
from mailroom.errors import ClientClosed
from mailroom.events import Event, GoingAway
from mailroom.retry import Contact
from mailroom.v1 import mailroom_pb2 as pb

Result = TypeVar("Result")


class BlockingTransport:
    """The transport of `Mailroom`. Threads may share it."""

    def __init__(self, address: str | None) -> None:
        self._channels = Channels(address, lambda target: grpc.insecure_channel(target, CHANNEL_OPTIONS))
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

    def subscribe(self, request: pb.SubscribeRequest) -> "BlockingStream":
        """Opens one stream; a failure shows when it is read."""
        method = self._channels.method(Service.MAILBOX, "Subscribe")
        try:
            return BlockingStream(method(request), self._channels)
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

    def __init__(self, address: str | None) -> None:
        self._channels = Channels(address, lambda target: grpc.aio.insecure_channel(target, CHANNEL_OPTIONS))

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

    def subscribe(self, request: pb.SubscribeRequest) -> "AsyncStream":
        """Opens one stream; a failure shows when it is read."""
        return AsyncStream(self._channels.method(Service.MAILBOX, "Subscribe")(request), self._channels)

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
    def __iter__(self) -> Iterator[pb.SubscribeResponse]: ...
    def cancel(self) -> object: ...


class BlockingStream:
    """One Subscribe call: an iterator that raises MailroomErrors."""

    def __init__(self, call: _BlockingCall, channels: Channels[grpc.Channel]) -> None:
        self._call = call
        self._responses = iter(call)
        self._channels = channels

    def __iter__(self) -> "BlockingStream":
        return self

    def __next__(self) -> Event | GoingAway:
        event = None
        while event is None:  # of a kind that only newer daemons know
            try:
                event = event_from(next(self._responses))
            except grpc.RpcError as error:
                raise self._channels.failure(error) from error
            self._channels.contact.answered = True
        return event

    def cancel(self) -> None:
        """Gives the call up."""
        self._call.cancel()


class _AsyncCall(Protocol):
    def __aiter__(self) -> AsyncGenerator[pb.SubscribeResponse, None]: ...
    def cancel(self) -> object: ...


class AsyncStream:
    """One Subscribe call: an asynchronous iterator that raises MailroomErrors."""

    def __init__(self, call: _AsyncCall, channels: Channels[grpc.aio.Channel]) -> None:
        self._call = call
        self._responses = aiter(call)
        self._channels = channels

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Event | GoingAway:
        event = None
        while event is None:
            try:
                event = event_from(await anext(self._responses))
            except grpc.RpcError as error:
                raise self._channels.failure(error) from error
            self._channels.contact.answered = True
        return event

    async def cancel(self) -> None:
        """Gives the call up."""
        self._call.cancel()
        with suppress(RuntimeError):  # another task is reading: it gets the cancellation
            await self._responses.aclose()
