"""Channels — one client's gRPC channels by address, and the generated stubs of the channel in use.

Owns the untyped part of the generated code, and what is known about the daemon: its address, and whether it has ever
answered. After each failure to connect the daemon is located again, because it may have moved to another address.
Below `transport`, which makes the calls. Invariant: a closed client opens no further channel.
"""

__all__ = ["CHANNEL_OPTIONS", "Channels"]

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from mailroom.addresses import Address, find_daemon, running_daemon_pid
from mailroom.calls import Service
from mailroom.credentials import Credentials
from mailroom.errors import ClientClosed, MailroomError, Unavailable
from mailroom.failures import error_from_rpc
from mailroom.retry import Contact
from mailroom.v1 import mailroom_pb2_grpc

ChannelT = TypeVar("ChannelT")

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),  # the daemon is local; gRPC's default of 1 s suits the internet
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
        address: the daemon's address, or None to locate it.
        credentials: the token and TLS files to use.
        open_plain: opens a channel to a gRPC target.
        open_tls: opens a TLS channel.

    Raises:
        InvalidArgument: the address is malformed.
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
        """Returns a stub's method, with the token bound to it.

        Raises:
            ClientClosed: the program closed the client.
            InvalidArgument: the credentials must not be sent to this address.
        """
        with self._lock:
            if self.closed:
                raise ClientClosed
            method = getattr(self._stub(self.contact.address, service), rpc)
        metadata = self._credentials.metadata
        return partial(method, metadata=metadata) if metadata else method

    def to_error(self, rpc_error: grpc.RpcError) -> MailroomError:
        """Returns the typed error; locates the daemon again if it could not be reached."""
        error = error_from_rpc(rpc_error)
        if self.closed:
            return ClientClosed()
        if error.reason:
            self.contact.answered = True
        elif isinstance(error, Unavailable):
            self.contact.address = find_daemon(self._explicit)
            self.contact.running_pid = running_daemon_pid(self.contact.address)
        return error

    def close(self) -> list[ChannelT]:
        """Refuses further calls; returns the channels for the transport to close."""
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
        if not self._credentials.uses_tls(address):
            return self._open_plain(address.grpc_target, CHANNEL_OPTIONS)
        tls = grpc.ssl_channel_credentials(self._credentials.ca, self._credentials.key, self._credentials.cert)
        return self._open_tls(address.grpc_target, tls, CHANNEL_OPTIONS)
