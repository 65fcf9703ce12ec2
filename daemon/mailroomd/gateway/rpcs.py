"""rpcs — the one table of RPCs: a row for each RPC of every service, with its access rule, its cost and its method.

To add an RPC: declare it in the contract, write its method, add a row here. SECURITY.md's table is made of these rows
(`gateway.access_page`). Not here: what follows from the contract (`gateway.rpc`), how rows are applied
(`gateway.interceptor`, `gateway.request_guard`).
Invariant: every RPC of every service has exactly one row, or the gateway does not start.
"""

__all__ = ["OWN_SERVICES", "RPCS", "check_complete"]

from collections.abc import Iterable
from typing import Any, cast

from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.auth.access import NamesByField, Rule
from mailroomd.gateway import page_requests
from mailroomd.gateway import request_parsing as parsing
from mailroomd.gateway.inbox import Inbox
from mailroomd.gateway.lookup import Lookup
from mailroomd.gateway.rpc import Rpc, message_cost
from mailroomd.gateway.sending import Sending
from mailroomd.gateway.supervisor_service import SupervisorService

_MAILBOX = pb.DESCRIPTOR.services_by_name["MailboxService"]
_SUPERVISOR = pb.DESCRIPTOR.services_by_name["SupervisorService"]
_HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]
_REFLECTION: Any = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"  # the same messages; newer clients ask for it first

_NAME_BYTES = 4 << 10  # a request that names a service, a file or a type; reflection repeats it in the response

_HealthServicer = cast("Any", health).aio.HealthServicer
_ReflectionServicer = cast("Any", reflection).aio.ReflectionServicer

OWN_SERVICES = (_MAILBOX.full_name, _SUPERVISOR.full_name)
# Declared by grpcio-health-checking, whose servicer does not have it.
_NOT_SERVED = frozenset({f"/{_HEALTH.full_name}/List"})


def _agent(request: Any) -> NamesByField:
    return [("agent", request.agent)]


def _agent_and_deputy(request: Any) -> NamesByField:
    return [("agent", request.agent), *([("by", request.by)] if request.by else [])]


def _subscriber(request: Any) -> NamesByField:
    return [("all_agents", "") if request.all_agents else ("agent", request.agent)]


_OWN_MAILBOX = Rule("its own mailbox", own=_agent)
_READS_MAILBOX = Rule("its own mailbox", own=_agent, is_rechecked=True)
_FOR_OPERATORS = Rule("no", is_for_agents=False)  # pids and exits, the traffic of every agent
_PUBLIC = Rule("yes", is_public=True)  # load balancers have no token
_FOR_ALL_TOKENS = Rule("yes")


RPCS: tuple[Rpc, ...] = (
    Rpc(
        _MAILBOX,
        "SendMessage",
        Rule("as itself", own=lambda request: [("sender", request.sender)]),
        Sending.send,
        parsing.parse_send,
        cost=lambda _, size_bytes: message_cost(1, size_bytes),
        is_refused_at_stop=True,
    ),
    Rpc(
        _MAILBOX,
        "BroadcastMessage",
        Rule("as itself", own=lambda request: [("message.sender", request.message.sender)]),
        Sending.broadcast,
        parsing.parse_broadcast,
        cost=lambda request, _: len(request.recipients) * message_cost(1, request.message.ByteSize()),
        is_refused_at_stop=True,
    ),
    Rpc(
        _MAILBOX,
        "SendMessages",
        Rule("as itself", own=lambda request: (("messages.sender", message.sender) for message in request.messages)),
        Sending.send_batch,
        parsing.parse_batch,
        cost=lambda request, size_bytes: message_cost(len(request.messages), size_bytes),
        is_refused_at_stop=True,
    ),
    Rpc(
        _MAILBOX,
        "Subscribe",
        Rule("its own mailbox", own=_subscriber),
        Inbox.subscribe,
        parsing.parse_subscription,
        is_refused_at_stop=True,
        writes_encoded=True,
    ),
    Rpc(
        _MAILBOX,
        "CheckInbox",
        _READS_MAILBOX,
        Inbox.check_inbox,
        parsing.parse_check,
        waits=lambda request: request.HasField("wait"),
        is_refused_at_stop=True,
    ),
    Rpc(_MAILBOX, "MarkOffered", _OWN_MAILBOX, Inbox.mark_offered, parsing.parse_agent_ids),
    Rpc(
        _MAILBOX,
        "AcknowledgeMessages",
        Rule("its own mailbox", own=_agent_and_deputy),
        Inbox.acknowledge_messages,
        parsing.parse_acknowledgement,
    ),
    Rpc(
        _MAILBOX,
        "ClearMailbox",
        Rule("its own mailbox", own=_agent_and_deputy),
        Inbox.clear_mailbox,
        parsing.parse_clearing,
    ),
    Rpc(
        _MAILBOX,
        "GetMessage",
        Rule("what it sent or received; to it, no other message exists", is_rechecked=True),  # see `may_see_message`
        Lookup.get_message,
        parsing.parse_id,
    ),
    Rpc(_MAILBOX, "ListMessages", _READS_MAILBOX, Lookup.list_messages, parsing.parse_listing),
    Rpc(_MAILBOX, "GetTraffic", _FOR_OPERATORS, Lookup.get_traffic, parsing.parse_traffic),
    Rpc(
        _MAILBOX,
        "GetMailboxStats",
        Rule("its own", own=_agent, is_rechecked=True),
        Lookup.get_mailbox_stats,
        page_requests.parse_stats,
    ),
    Rpc(
        _MAILBOX,
        "GetQueueStats",
        Rule("its own", own=lambda request: [("session_id", request.session_id)], is_rechecked=True),
        Lookup.get_queue_stats,
        page_requests.parse_queues,
    ),
    Rpc(
        _MAILBOX,
        "ListAgents",
        Rule("yes: it is the address book", is_rechecked=True),
        Lookup.list_agents,
        page_requests.parse_agents,
    ),
    # An alias takes over the mail of another name, and anyone who wrote to a session knows its name. So only the owner
    # and administrators decide which agent a session belongs to.
    Rpc(
        _MAILBOX,
        "SetAlias",
        Rule("no: an alias takes another name's mail", is_for_agents=False),
        Inbox.set_alias,
        parsing.parse_alias,
    ),
    Rpc(_SUPERVISOR, "GetStatus", _FOR_OPERATORS, SupervisorService.get_status),
    Rpc(_SUPERVISOR, "GetMetrics", _FOR_OPERATORS, SupervisorService.get_metrics),
    Rpc(_HEALTH, "Check", _PUBLIC, _HealthServicer.Check, max_request_bytes=_NAME_BYTES),
    Rpc(_HEALTH, "Watch", _PUBLIC, _HealthServicer.Watch, max_request_bytes=_NAME_BYTES),
    Rpc(
        _REFLECTION,
        "ServerReflectionInfo",
        _FOR_ALL_TOKENS,
        _ReflectionServicer.ServerReflectionInfo,
        max_request_bytes=_NAME_BYTES,
    ),
    Rpc(
        _REFLECTION,
        "ServerReflectionInfo",
        _FOR_ALL_TOKENS,
        _ReflectionServicer.ServerReflectionInfo,
        served_as=_REFLECTION_V1,
        max_request_bytes=_NAME_BYTES,
    ),
)


def check_complete(rpcs: Iterable[Rpc]) -> None:
    """Checks that each RPC of the contract, and of the standard services that have rows, has exactly one row.

    Raises:
        ValueError: names the RPCs that have none, or several.
        KeyError: a row names an RPC that the contract does not have.
    """
    rows = list(rpcs)
    paths = [rpc.path for rpc in rows if rpc.contract]
    services = {service.full_name: service for service in pb.DESCRIPTOR.services_by_name.values()}
    services |= {rpc.service_name: rpc.service for rpc in rows}
    served = {f"/{service}/{name}" for service in services for name in services[service].methods_by_name} - _NOT_SERVED
    wrong = sorted(path for path in served | set(paths) if paths.count(path) != 1)
    if wrong:
        raise ValueError(f"gateway/rpcs.py must have one row for each of {', '.join(wrong)}")
