"""Channels — the gRPC channels that one client opened, by address, and the generated stubs on the one in use.

Owns what is untyped in the generated code, and what is known of the daemon: where it is, whether it ever answered. It
is looked for again after each failure to connect, because it may have come back at another address.
Below `transport`, which makes the calls. Invariant: once closed, no channel is opened any more.
"""

__all__ = ["CHANNEL_OPTIONS", "Channels"]

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from mailroom.addresses import find_daemon
from mailroom.calls import Service
from mailroom.errors import ClientClosed, MailroomError, Unavailable
from mailroom.failures import failure_of
from mailroom.retry import Contact
from mailroom.v1 import mailroom_pb2_grpc

ChannelT = TypeVar("ChannelT")

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),  # the daemon is on this machine: gRPC's own 1 s is for the internet
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)

_STUBS = {
    Service.MAILBOX: cast("Callable[[Any], object]", mailroom_pb2_grpc.MailboxServiceStub),
    Service.SUPERVISOR: cast("Callable[[Any], object]", mailroom_pb2_grpc.SupervisorServiceStub),
    Service.HEALTH: cast("Callable[[Any], object]", health_pb2_grpc.HealthStub),
}


class Channels(Generic[ChannelT]):
    """The channels of one client. Threads may share them.

    Args:
        address: where the daemon is, or None to find it.
        open_channel: makes a channel to a gRPC target.

    Raises:
        InvalidArgument: the address is none.
    """

    def __init__(self, address: str | None, open_channel: Callable[[str], ChannelT]) -> None:
        self._explicit = address
        self._open_channel = open_channel
        self._lock = threading.Lock()
        self._opened: dict[str, ChannelT] = {}
        self._stubs: dict[tuple[str, Service], object] = {}
        self.contact = Contact(find_daemon(address))
        self.closed = False

    def method(self, service: Service, rpc: str) -> Callable[..., Any]:
        """Returns a stub's method.

        Raises:
            ClientClosed: the program closed the client.
        """
        with self._lock:
            if self.closed:
                raise ClientClosed
            return getattr(self._stub(self.contact.address.grpc_target, service), rpc)

    def failure(self, error: grpc.RpcError) -> MailroomError:
        """Returns the typed error, and notes what it tells about the daemon."""
        failure = failure_of(error)
        if self.closed:
            return ClientClosed()
        if failure.reason:
            self.contact.answered = True
        elif isinstance(failure, Unavailable):
            self.contact.address = find_daemon(self._explicit)
        return failure

    def close(self) -> list[ChannelT]:
        """Gives no stub out any more; returns the channels for the transport to close."""
        with self._lock:
            self.closed = True
            return list(self._opened.values())

    def _stub(self, target: str, service: Service) -> object:
        if target not in self._opened:
            self._opened[target] = self._open_channel(target)
        key = (target, service)
        if key not in self._stubs:
            self._stubs[key] = _STUBS[service](self._opened[target])
        return self._stubs[key]
