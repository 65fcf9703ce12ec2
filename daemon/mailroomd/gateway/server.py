"""server — builds the gRPC server: its options, the services of the table of RPCs, and the guard in front of them."""

__all__ = ["make_server"]

from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

import grpc
from grpc_reflection.v1alpha import reflection

from mailroomd.gateway.client_limits import MAX_REQUEST_BYTES
from mailroomd.gateway.descriptors import connections_per_listener
from mailroomd.gateway.interceptor import GuardInterceptor
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.rpc import Rpc
from mailroomd.gateway.rpcs import RPCS, check_complete
from mailroomd.model.limits import MAX_WAITING_CALLS

MAX_PENDING_CALLS = 2 * MAX_WAITING_CALLS  # calls that gRPC holds before their handlers start
KEEPALIVE_MS = 60_000  # between the daemon's own pings on a quiet connection
KEEPALIVE_TIMEOUT_MS = 20_000  # for their answer; then the connection is closed
MIN_PING_INTERVAL_MS = 1000  # clients ping no more than every 5 s, but not to the millisecond
HANDSHAKE_TIMEOUT_MS = 10_000  # for a connection to begin to speak HTTP/2; by default two minutes
MAX_IDLE_MS = 10 * 60_000  # a connection without a call is closed then; clients connect again with their next call


def make_server(
    servicers: Sequence[object], guard: RequestGuard, *, listeners: int, share_ports: bool
) -> grpc.aio.Server:
    """Returns a server that is neither bound nor started.

    Args:
        servicers: the objects whose methods the rows name; that of reflection is made here.
        guard: checks each call.
        listeners: number of addresses that the server will listen on.
        share_ports: whether other gateways listen on the same ports.
    """
    check_complete(RPCS)
    interceptor = GuardInterceptor(RPCS, guard)
    server = grpc.aio.server(interceptors=(interceptor,), options=_options(listeners, share_ports=share_ports))
    described = {rpc.service_name for rpc in RPCS}
    servicers = (*servicers, cast("Any", reflection).aio.ReflectionServicer(service_names=described))
    for service, rpcs in groupby(RPCS, lambda rpc: rpc.service_name):
        handlers = {rpc.name: _method_handler(rpc, servicers) for rpc in rpcs}
        # The generated functions also register each method by itself. Then grpc.aio waits for every one of them again
        # at each call, and each call takes longer.
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    return server


def _method_handler(rpc: Rpc, servicers: Sequence[object]) -> Any:
    """Returns the handler of a row's method, not yet behind the guard."""
    name = rpc.method.__name__
    method = next(getattr(one, name) for one in servicers if getattr(type(one), name, None) is rpc.method)
    encode = None if rpc.writes_encoded else cast("Any", _encode)
    if rpc.contract.client_streaming:
        return cast("Any", grpc.stream_stream_rpc_method_handler(method, None, encode))
    if rpc.contract.server_streaming:
        return cast("Any", grpc.unary_stream_rpc_method_handler(method, None, encode))
    return cast("Any", grpc.unary_unary_rpc_method_handler(method))


def _encode(response: Any) -> bytes:
    return response.SerializeToString()


def _options(listeners: int, *, share_ports: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 1 if share_ports else 0),
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        # A peer that is gone without a word, as after a lost network, must not count as a subscriber for good.
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),  # while packets are unacknowledged
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),  # while they are: a client that is stopped or hangs
        # gRPC's own minimum between keepalive pings on a quiet stream is five minutes; it disconnects clients that
        # ping more often with "too_many_pings".
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        # A listener beyond its share closes connections at once.
        ("grpc.max_allowed_incoming_connections", connections_per_listener(listeners)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
        ("grpc.max_connection_idle_ms", MAX_IDLE_MS),
        # By default gRPC answers part of a burst of more than 1,000 calls with a bare CANCELLED, which no client
        # retries. Before this limit is reached, `MailboxClient` has refused calls with a reason.
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
    ]
