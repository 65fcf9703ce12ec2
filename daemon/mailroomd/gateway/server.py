"""server — builds the gRPC server: its options, and the services behind the request guard."""

__all__ = ["SERVICES", "make_server"]

from typing import Any, cast

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from mailroomd.gateway import mailbox_service, supervisor_service
from mailroomd.gateway.client_limits import MAX_REQUEST_BYTES
from mailroomd.gateway.descriptors import connections_per_listener
from mailroomd.gateway.handlers import generic_handler
from mailroomd.gateway.health import SERVICE as HEALTH_SERVICE
from mailroomd.gateway.health import Health
from mailroomd.gateway.mailbox_service import MailboxService
from mailroomd.gateway.reflection import Reflection
from mailroomd.gateway.request_guard import RequestGuard
from mailroomd.gateway.supervisor_service import SupervisorService
from mailroomd.model.limits import MAX_WAITING_CALLS

MAX_PENDING_CALLS = 2 * MAX_WAITING_CALLS  # calls that gRPC holds before their handlers start
MIN_PING_INTERVAL_MS = 1000  # clients ping no more than every 5 s, but not to the millisecond
HANDSHAKE_TIMEOUT_MS = 10_000  # for a connection to begin to speak HTTP/2; by default two minutes
MAX_IDLE_MS = 10 * 60_000  # a connection without a call is closed then; clients connect again with their next call
SERVICES = (mailbox_service.SERVICE, supervisor_service.SERVICE)


def make_server(
    mailbox: MailboxService,
    supervisor: SupervisorService,
    health: Health,
    guard: RequestGuard,
    *,
    listeners: int,
    share_ports: bool,
) -> grpc.aio.Server:
    """Returns a server that is neither bound nor started.

    Args:
        mailbox: the servicer of mailboxes.
        supervisor: the servicer for operators.
        health: the servicer of health.
        guard: checks each call.
        listeners: number of addresses that the server will listen on.
        share_ports: whether other gateways listen on the same ports.
    """
    server = grpc.aio.server(options=_options(listeners, share_ports=share_ports))
    server.add_generic_rpc_handlers(
        (
            generic_handler(mailbox_service.SERVICE, mailbox.handlers(), guard),
            generic_handler(supervisor_service.SERVICE, supervisor.handlers(), guard),
            generic_handler(HEALTH_SERVICE, health.handlers(), guard),
        )
    )
    described = (*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME)
    cast("Any", reflection_pb2_grpc).add_ServerReflectionServicer_to_server(Reflection(described, guard), server)
    return server


def _options(listeners: int, *, share_ports: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 1 if share_ports else 0),
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
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
