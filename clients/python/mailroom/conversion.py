"""Conversion — converts the daemon's protobuf responses to the SDK's own values.

`calls` covers the other direction. Besides these two modules only `transport`, `channels` and the modules of streams
use the generated code.
"""

__all__ = [
    "acknowledgement_from",
    "agents_from",
    "deleted_from",
    "events_from",
    "expiry_from",
    "health_from",
    "inbox_from",
    "metrics_from",
    "outcome_from",
    "outcomes_from",
    "page_from",
    "queue_stats_from",
    "sent_from",
    "stats_from",
    "status_from",
    "tracked_from",
    "traffic_from",
    "whole_outcome_from",
]

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from mailroom.agents import AgentInfo
from mailroom.errors import code_name, error_of
from mailroom.events import CaughtUp, CommandResponse, Event, GoingAway, UnknownEvent
from mailroom.generated import generate
from mailroom.message_fields import (
    FIELDS,
    FLAG,
    LIFETIME,
    MESSAGE_ID,
    MOMENT,
    NAME,
    OBJECT,
    PRIORITIES,
    PRIORITY,
    TEXT,
    Kind,
    MessageField,
)
from mailroom.messages import (
    Acknowledgement,
    Delivery,
    Inbox,
    Message,
    MessagePage,
    SendOutcome,
    SentMessage,
    TrackedMessage,
)
from mailroom.metadata import metadata_from_struct
from mailroom.receipts import Receipt
from mailroom.records import Page
from mailroom.states import DeliveryState, Health, Priority
from mailroom.stats import (
    HostStatus,
    HubStatus,
    MailboxStats,
    MetricSample,
    PairTraffic,
    QueueStats,
    Status,
    Traffic,
    WorkerStatus,
)
from mailroom.v1 import mailroom_pb2 as pb

_STATES = {number: DeliveryState[name.removeprefix("DELIVERY_STATE_")] for name, number in pb.DeliveryState.items()[1:]}
_PRIORITIES: dict[int, Priority] = {pb.PRIORITY_UNSPECIFIED: Priority.NORMAL} | {
    number: Priority(name) for number, name in enumerate(PRIORITIES, 1)
}


def sent_from(response: pb.SendMessageResponse) -> SentMessage:
    """Converts the response to a send."""
    return SentMessage(_message(response.message), _delivery(response.delivery))


def outcomes_from(response: pb.BroadcastMessageResponse, recipients: Sequence[str]) -> list[SendOutcome]:
    """Converts the response to a broadcast, whose results are in the order of the recipients."""
    return [outcome_from(recipient, result) for recipient, result in zip(recipients, response.results, strict=True)]


def outcome_from(recipient: str, result: pb.SendResult) -> SendOutcome:
    """Converts the result for one recipient."""
    if result.WhichOneof("result") == "ok":
        return SendOutcome(recipient, sent_from(result.ok), None)
    error = result.error
    failure = error_of(
        code_name(error.code),
        error.message,
        reason=error.reason,
        field=error.field or None,
        retry_after_sec=error.retry_delay.ToTimedelta().total_seconds() if error.HasField("retry_delay") else None,
    )
    return SendOutcome(recipient, None, failure)


def whole_outcome_from(request: pb.SendMessageRequest, result: pb.SendResult) -> SendOutcome:
    """Converts the result of a request in a batch; content and metadata, which results lack, come from the request."""
    if result.WhichOneof("result") == "ok":
        result.ok.message.content = request.content
        result.ok.message.metadata.CopyFrom(request.metadata)
    return outcome_from(request.recipient, result)


def tracked_from(response: pb.GetMessageResponse) -> TrackedMessage:
    """Converts a message with its history."""
    history = tuple(_receipt(receipt, "") for receipt in response.history)
    return TrackedMessage(_message(response.message), _delivery(response.delivery), history)


def inbox_from(response: pb.CheckInboxResponse) -> Inbox:
    """Converts a page of unread messages."""
    return Inbox(tuple(map(_message, response.messages)), response.more)


def page_from(response: pb.ListMessagesResponse) -> MessagePage:
    """Converts one page of a mailbox."""
    return MessagePage(tuple(map(_message, response.messages)), response.next_page_token)


def acknowledgement_from(response: pb.AcknowledgeMessagesResponse) -> Acknowledgement:
    """Converts the response to an acknowledgement."""
    return Acknowledgement(tuple(response.acknowledged_ids), tuple(response.unknown_ids))


def deleted_from(response: pb.ClearMailboxResponse) -> int:
    """Returns the number of deleted messages."""
    return response.deleted


def stats_from(response: pb.GetMailboxStatsResponse) -> Page[MailboxStats]:
    """Converts one page of message counts."""
    return Page(tuple(map(_mailbox_stats, response.mailboxes)), response.next_page_token)


def metrics_from(response: pb.GetMetricsResponse) -> list[MetricSample]:
    """Converts the metrics of the workers."""
    return [MetricSample(sample.name, dict(sample.labels), sample.value) for sample in response.samples]


def queue_stats_from(response: pb.GetQueueStatsResponse) -> Page[QueueStats]:
    """Converts one page of the numbers of pending inbox files."""
    queues = (QueueStats(queue.session_id, queue.pending_count, queue.oldest_age_sec) for queue in response.queues)
    return Page(tuple(queues), response.next_page_token)


def expiry_from(response: pb.SetAliasResponse) -> datetime | None:
    """Returns when an alias expires, None if it was removed."""
    return _moment(response, "expires_at")


def agents_from(response: pb.ListAgentsResponse) -> Page[AgentInfo]:
    """Converts one page of the known agents."""
    return Page(tuple(map(_agent_info, response.agents)), response.next_page_token)


def status_from(response: pb.GetStatusResponse) -> Status:
    """Converts the state of the workers."""
    workers = tuple(map(_worker_status, response.workers))
    keep_read_sec = response.keep_read.ToTimedelta().total_seconds() if response.HasField("keep_read") else None
    started_at = _moment(response, "started_at")
    return Status(response.version, started_at, workers, keep_read_sec, response.max_unread or None, _hub(response))


def _hub(response: pb.GetStatusResponse) -> HubStatus | None:
    if not response.HasField("hub"):
        return None
    hub = response.hub
    hosts = tuple(
        HostStatus(host.name, _moment(host, "last_seen"), host.waiting, host.waiting_bytes, host.problem)
        for host in hub.hosts
    )
    return HubStatus(hub.host, hub.connected, _moment(hub, "last_contact"), hub.problem, hosts)


def traffic_from(response: pb.GetTrafficResponse) -> Traffic:
    """Converts the numbers of messages by sender and recipient."""
    pairs = tuple(PairTraffic(pair.sender, pair.recipient, pair.messages) for pair in response.pairs)
    return Traffic(pairs, _moment(response, "since"), response.messages)


def health_from(response: health_pb2.HealthCheckResponse) -> Health:
    """Converts the response of the standard health service."""
    match response.status:
        case health_pb2.HealthCheckResponse.SERVING:
            return Health.SERVING
        case health_pb2.HealthCheckResponse.NOT_SERVING:
            return Health.NOT_SERVING
        case _:
            return Health.UNKNOWN


def events_from(response: pb.SubscribeResponse) -> Iterator[Event | GoingAway | UnknownEvent]:
    """Returns the events of one response."""
    return map(_event, response.events or (response,))


def _event(response: pb.SubscribeResponse) -> Event | GoingAway | UnknownEvent:
    match response.WhichOneof("event"):
        case "message":
            return _message(response.message)
        case "receipt":
            return _receipt(response.receipt, response.event_id)
        case "command_response":
            return _command_response(response.command_response, response.event_id)
        case "caught_up":
            return CaughtUp(response.caught_up.last_id, response.caught_up.gap)
        case "going_away":
            return GoingAway(response.going_away.last_id)
        case _:
            return UnknownEvent(response.event_id)


def _delivery(delivery: pb.Delivery) -> Delivery:
    return Delivery(
        state=_state(delivery.state),
        inbox_file_error=delivery.inbox_file_error or None,
        team_inbox_error=delivery.team_inbox_error or None,
        subscribers=delivery.subscribers,
        recipient_known=delivery.recipient_known,
        recipient_last_seen=_moment(delivery, "recipient_last_seen"),
        reason=delivery.reason or None,
        also_at=tuple(delivery.also_at),
    )


def _receipt(receipt: pb.Receipt, event_id: str) -> Receipt:
    state, moment = _state(receipt.state), _moment(receipt, "timestamp")
    by, reason = receipt.by or None, receipt.reason or None
    return Receipt(receipt.message_id, receipt.recipient, state, moment, event_id, by, reason)


def _command_response(response: pb.CommandResponse, event_id: str) -> CommandResponse:
    return CommandResponse(
        response.session_id, _body(response), response.file_name, event_id, _moment(response, "timestamp")
    )


def _body(response: pb.CommandResponse) -> dict[str, Any]:
    if response.HasField("body") or not response.body_json:
        return metadata_from_struct(response.body)
    return orjson.loads(response.body_json)


def _agent_info(agent: pb.AgentInfo) -> AgentInfo:
    last_seen, sessions = _moment(agent, "last_seen"), tuple(agent.sessions)
    return AgentInfo(agent.name, agent.alive, last_seen, agent.subscribers, agent.unread, sessions, agent.host or None)


def _mailbox_stats(stats: pb.MailboxStats) -> MailboxStats:
    return MailboxStats(
        agent_id=stats.agent_id,
        total=stats.total,
        unread=stats.unread,
        oldest_unread_age_sec=stats.oldest_unread_age_sec,
        subscribers=stats.subscribers,
        last_seen=_moment(stats, "last_seen"),
    )


def _worker_status(worker: pb.WorkerStatus) -> WorkerStatus:
    started_at = _moment(worker, "started_at")
    return WorkerStatus(worker.name, worker.pid, worker.state, worker.restarts, started_at, worker.last_exit)


def _state(state: int) -> DeliveryState:
    return _STATES.get(state, DeliveryState.UNKNOWN)


def _moment(owner: ProtoMessage, field: str) -> datetime | None:
    """Returns a Timestamp field as an aware UTC time, None if it is absent."""
    return getattr(owner, field).ToDatetime(tzinfo=UTC) if owner.HasField(field) else None


def _moment_or_none(moment: Timestamp) -> datetime | None:
    return moment.ToDatetime(tzinfo=UTC) if moment.seconds or moment.nanos else None


def _priority(number: int) -> Priority:
    return _PRIORITIES.get(number, Priority.UNKNOWN)


_FROM_PROTO: dict[Kind, str] = {  # the value in a Message of the SDK
    NAME: "message.{shown}",
    TEXT: "message.{shown}",
    OBJECT: "metadata_from_struct(message.{shown})",
    MESSAGE_ID: "message.{shown} or None",
    PRIORITY: "priority(message.{shown})",
    LIFETIME: "moment_or_none(message.{shown})",
    MOMENT: "moment_or_none(message.{shown})",
    FLAG: "message.{shown}",
}


def _filled(field: MessageField) -> str:
    or_none = " or None" if field.kind is TEXT and field.is_optional else ""
    return f"{field.shown}={_FROM_PROTO[field.kind].format(shown=field.shown)}{or_none}"


_message: Callable[[pb.Message], Message] = generate(
    f"""def message_from(message):
    return Message(
        id=message.id, timestamp=moment_or_none(message.timestamp), read=message.read, state=state(message.state),
        content_size=message.content_size,
        {", ".join(map(_filled, FIELDS))},
    )
""",
    {
        "Message": Message,
        "metadata_from_struct": metadata_from_struct,
        "priority": _priority,
        "moment_or_none": _moment_or_none,
        "state": _state,
    },
)
