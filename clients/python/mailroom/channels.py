"""Channels — the gRPC channels that one client opened, by address, and the generated stubs on the one in use.

Owns what is untyped in the generated code, and what is known of the daemon: where it is, whether it ever answered. It
is looked for again after each failure to connect, because it may have come back at another address.
Below `transport`, which makes the calls. Invariant: once closed, no channel is opened any more.
"""

__all__ = ["CHANNEL_OPTIONS", "Channels"]

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from mailroom.addresses import Address, find_daemon
from mailroom.calls import Service
from mailroom.credentials import Credentials
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
        credentials: what is shown to it.
        open_plain: makes a channel to a gRPC target.
        open_tls: makes one that speaks TLS.

    Raises:
        InvalidArgument: the address is none.
    """

    def __init__(
        self,
        address: str | None,
        credentials: Credentials,
        open_plain: Callable[[str, Any], ChannelT],
        open_tls: Callable[[str, grpc.ChannelCredentials, Any], ChannelT],
    ) -> None:
        self._explicit = address
        self._credentials = credentials
        self._open_plain = open_plain
        self._open_tls = open_tls
        self._lock = threading.Lock()
        self._opened: dict[str, ChannelT] = {}
        self._stubs: dict[tuple[str, Service], object] = {}
        self.contact = Contact(find_daemon(address))
        self.closed = False

    def method(self, service: Service, rpc: str) -> Callable[..., Any]:
        """Returns a stub's method, which shows the token.

        Raises:
            ClientClosed: the program closed the client.
            InvalidArgument: the credentials are not for this address.
        """
        with self._lock:
            if self.closed:
                raise ClientClosed
            method = getattr(self._stub(self.contact.address, service), rpc)
        metadata = self._credentials.metadata
        return partial(method, metadata=metadata) if metadata else method

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

    def _stub(self, address: Address, service: Service) -> object:
        target = address.grpc_target
        if target not in self._opened:
            self._opened[target] = self._open(address)
        key = (target, service)
        if key not in self._stubs:
            self._stubs[key] = _STUBS[service](self._opened[target])
        return self._stubs[key]

    def _open(self, address: Address) -> ChannelT:
        shown = self._credentials
        if not shown.uses_tls(address):
            return self._open_plain(address.grpc_target, CHANNEL_OPTIONS)
        credentials = grpc.ssl_channel_credentials(shown.ca, shown.key, shown.cert)
        return self._open_tls(address.grpc_target, credentials, CHANNEL_OPTIONS)
