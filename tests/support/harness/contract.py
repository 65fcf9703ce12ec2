"""The contract's stubs, typed: raw calls for tests that are about the daemon and not about the SDK."""

__all__ = [
    "RETRYABLE",
    "AsyncStubs",
    "BlockingStream",
    "BlockingStubs",
    "async_stubs",
    "blocking_stubs",
    "error_reason",
    "events_of",
]

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from mailroom.v1 import mailroom_pb2 as pb
from mailroom.v1 import mailroom_pb2_grpc

RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What a sender answers by sending again with the same key; a lost connection is UNAVAILABLE, too."""

CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


@dataclass(frozen=True)
class AsyncStubs:
    """Calls on a grpc.aio channel; each takes a request and `timeout` in seconds."""

    send: Callable[..., Awaitable[pb.SendMessageResponse]]
    check_inbox: Callable[..., Awaitable[pb.CheckInboxResponse]]
    acknowledge: Callable[..., Awaitable[pb.AcknowledgeMessagesResponse]]
    subscribe: Callable[..., AsyncIterator[pb.SubscribeResponse]]
    broadcast: Callable[..., Awaitable[pb.BroadcastMessageResponse]]
    clear: Callable[..., Awaitable[pb.ClearMailboxResponse]]
    set_alias: Callable[..., Awaitable[pb.SetAliasResponse]]


class BlockingStream(Protocol):
    """One Subscribe stream on a blocking channel."""

    def __iter__(self) -> Iterator[pb.SubscribeResponse]: ...

    def cancel(self) -> bool: ...


@dataclass(frozen=True)
class BlockingStubs:
    """Calls on a blocking channel; `start_send` returns a future."""

    send: Callable[..., pb.SendMessageResponse]
    start_send: Callable[..., "grpc.Future[pb.SendMessageResponse]"]
    check_inbox: Callable[..., pb.CheckInboxResponse]
    acknowledge: Callable[..., pb.AcknowledgeMessagesResponse]
    get_message: Callable[..., pb.GetMessageResponse]
    subscribe: "Callable[..., BlockingStream]"
    stats: Callable[..., pb.GetMailboxStatsResponse]
    status: Callable[..., pb.GetStatusResponse]
    clear: Callable[..., pb.ClearMailboxResponse]


def async_stubs(address: str) -> tuple[grpc.aio.Channel, AsyncStubs]:
    """Returns a channel, to be closed, and the calls on it."""
    channel = grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
    stub = cast("Any", mailroom_pb2_grpc).MailboxServiceStub(channel)
    return channel, AsyncStubs(
        stub.SendMessage,
        stub.CheckInbox,
        stub.AcknowledgeMessages,
        stub.Subscribe,
        stub.BroadcastMessage,
        stub.ClearMailbox,
        stub.SetAlias,
    )


def blocking_stubs(address: str) -> tuple[grpc.Channel, BlockingStubs]:
    """Returns a channel, to be closed, and the calls on it."""
    channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
    mail = cast("Any", mailroom_pb2_grpc).MailboxServiceStub(channel)
    supervisor = cast("Any", mailroom_pb2_grpc).SupervisorServiceStub(channel)
    return channel, BlockingStubs(
        mail.SendMessage,
        mail.SendMessage.future,
        mail.CheckInbox,
        mail.AcknowledgeMessages,
        mail.GetMessage,
        mail.Subscribe,
        mail.GetMailboxStats,
        supervisor.GetStatus,
        mail.ClearMailbox,
    )


def error_reason(error: grpc.RpcError) -> str:
    """Returns the stable reason in a refusal's details, "" where there is none."""
    trailers = cast("Any", error).trailing_metadata() or ()
    for name, value in trailers:
        if name == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason
    return ""


def events_of(response: pb.SubscribeResponse) -> Sequence[pb.SubscribeResponse]:
    """Returns the events of one response, which has either one of its own or several in a batch."""
    if not response.events:
        return [response]
    assert response.WhichOneof("event") is None, response
    assert len(response.events) > 1, response
    assert response.event_id == response.events[-1].event_id, response
    assert not any(event.events for event in response.events), response
    return response.events
