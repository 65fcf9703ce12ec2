"""Call — one RPC as data: its service, its request, and the function that converts the response.

Both clients build their requests here. Not here: the conversion of responses (`conversion`).
"""

__all__ = [
    "Call",
    "Service",
    "acknowledge",
    "agents",
    "broadcast",
    "check_inbox",
    "clear",
    "draft_request",
    "get_message",
    "get_metrics",
    "get_status",
    "health",
    "list_messages",
    "mark_offered",
    "queue_stats",
    "resend",
    "send",
    "set_alias",
    "stats",
    "subscribe_request",
    "traffic",
]

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from mailroom import conversion
from mailroom.agents import AgentInfo
from mailroom.cursor import Cursor
from mailroom.drafts import Draft
from mailroom.errors import InvalidArgument
from mailroom.message_fields import (
    LIFETIME,
    MESSAGE_ID,
    MOMENT,
    OBJECT,
    PRIORITIES,
    PRIORITY,
    SENT_FIELDS,
    TEXT,
    Kind,
    limit_of,
)
from mailroom.messages import Acknowledgement, Inbox, MessagePage, SendOutcome, SentMessage, TrackedMessage
from mailroom.metadata import struct_from_metadata
from mailroom.options import Deadline, ListOptions, SendOptions, Span, SubscribeOptions
from mailroom.records import Page
from mailroom.states import DeliveryState, Health
from mailroom.stats import MailboxStats, MetricSample, QueueStats, Status, Traffic
from mailroom.v1 import mailroom_pb2 as pb

Result = TypeVar("Result")

MAX_CONTENT_BYTES = limit_of("content")  # of UTF-8
MAX_IDS_PER_CALL = 1000  # the daemon's limit
MAX_BATCH = 1000  # events in one response: as many as the daemon allows, which also bounds their bytes


class Service(Enum):
    """The daemon's gRPC services."""

    MAILBOX = "MailboxService"
    SUPERVISOR = "SupervisorService"
    HEALTH = "Health"


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One unary RPC. Each may be retried: it reads, carries an idempotency key, or is idempotent by nature.

    Attributes:
        extra_sec: how long the daemon may wait on purpose, in addition to the timeout.
    """

    service: Service
    rpc: str
    request: ProtoMessage
    read: Callable[[Any], Result]
    extra_sec: float = 0.0


def send(to: str, content: str, default_sender: str | None, options: SendOptions) -> Call[SentMessage]:
    """Sends one message."""
    return resend(draft_request(Draft(to, content, **options), default_sender))


def resend(request: pb.SendMessageRequest) -> Call[SentMessage]:
    """Sends an existing request again; its idempotency key prevents a duplicate."""
    return Call(Service.MAILBOX, "SendMessage", request, conversion.sent_from)


def draft_request(draft: Draft, default_sender: str | None) -> pb.SendMessageRequest:
    """Builds the request for one message.

    Raises:
        InvalidArgument: a field is invalid, or could not be transmitted unchanged.
    """
    request = _draft(draft.content, default_sender, draft.options)
    request.recipient = _text("recipient", draft.to)
    return request


def broadcast(
    recipients: Sequence[str], content: str, default_sender: str | None, options: SendOptions
) -> Call[list[SendOutcome]]:
    """Sends a copy to each recipient."""
    names = [_text("recipients", name) for name in recipients]
    request = pb.BroadcastMessageRequest(recipients=names, message=_draft(content, default_sender, options))
    return Call(Service.MAILBOX, "BroadcastMessage", request, partial(conversion.outcomes_from, recipients=names))


def check_inbox(
    agent: str, *, limit: int | None, wait: Span | None, observe: bool, unoffered_only: bool, newest_first: bool
) -> Call[Inbox]:
    """Fetches unread messages."""
    request = pb.CheckInboxRequest(
        agent=_text("agent", agent),
        limit=limit or 0,
        wait=_duration("wait", wait),
        observe=observe,
        unoffered_only=unoffered_only,
        newest_first=newest_first,
    )
    extra_sec = request.wait.ToTimedelta().total_seconds()
    return Call(Service.MAILBOX, "CheckInbox", request, conversion.inbox_from, extra_sec)


def acknowledge(agent: str, ids: str | Iterable[str], by: str | None) -> Iterator[Call[Acknowledgement]]:
    """Marks messages as read, in as many calls as necessary."""
    for message_ids in _portions(ids):
        names = {"agent": _text("agent", agent), "by": _text("by", by or "")}
        request = pb.AcknowledgeMessagesRequest(**names, message_ids=message_ids)
        yield Call(Service.MAILBOX, "AcknowledgeMessages", request, conversion.acknowledgement_from)


def mark_offered(agent: str, ids: str | Iterable[str]) -> Iterator[Call[None]]:
    """Marks messages as offered, in as many calls as necessary."""
    for message_ids in _portions(ids):
        request = pb.MarkOfferedRequest(agent=_text("agent", agent), message_ids=message_ids)
        yield Call(Service.MAILBOX, "MarkOffered", request, _nothing)


def get_message(message_id: str) -> Call[TrackedMessage]:
    """Fetches one message."""
    request = pb.GetMessageRequest(id=_text("id", message_id))
    return Call(Service.MAILBOX, "GetMessage", request, conversion.tracked_from)


def list_messages(agent: str | None, page_token: str, options: ListOptions) -> Call[MessagePage]:
    """Fetches one page of one mailbox or of every mailbox."""
    request = pb.ListMessagesRequest(
        agent=_text("agent", agent or ""),
        unread_only=options.get("unread_only", False),
        thread_id=_text("thread_id", options.get("thread_id") or ""),
        query=_text("query", options.get("query") or ""),
        page_size=options.get("page_size") or 0,
        page_token=_text("page_token", page_token),
        sender=_text("sender", options.get("sender") or ""),
        states=map(_state, options.get("states") or ()),
        preview_bytes=options.get("preview_bytes") or 0,
    )
    return Call(Service.MAILBOX, "ListMessages", request, conversion.page_from)


def traffic(period: Span | None) -> Call[Traffic]:
    """Counts the messages of a period by sender and recipient."""
    request = pb.GetTrafficRequest(period=_duration("period", period, "LIMIT_INVALID"))
    return Call(Service.MAILBOX, "GetTraffic", request, conversion.traffic_from)


def clear(agent: str, by: str | None) -> Call[int]:
    """Deletes all messages of a mailbox."""
    request = pb.ClearMailboxRequest(agent=_text("agent", agent), by=_text("by", by or ""))
    return Call(Service.MAILBOX, "ClearMailbox", request, conversion.deleted_from)


def stats(agent: str | None, page_token: str) -> Call[Page[MailboxStats]]:
    """Fetches one page of message counts."""
    request = pb.GetMailboxStatsRequest(agent=_text("agent", agent or ""), page_token=page_token)
    return Call(Service.MAILBOX, "GetMailboxStats", request, conversion.stats_from)


def queue_stats(session: str | None, page_token: str) -> Call[Page[QueueStats]]:
    """Fetches one page of the numbers of pending inbox files."""
    request = pb.GetQueueStatsRequest(session_id=_text("session_id", session or ""), page_token=page_token)
    return Call(Service.MAILBOX, "GetQueueStats", request, conversion.queue_stats_from)


def set_alias(agent: str, session: str, ttl: Span | None) -> Call[datetime | None]:
    """Makes a session an alias of an agent."""
    request = pb.SetAliasRequest(
        agent=_text("agent", agent), session=_text("session", session), ttl=_duration("ttl", ttl)
    )
    return Call(Service.MAILBOX, "SetAlias", request, conversion.expiry_from)


def agents(alive_only: bool, all_hosts: bool, page_token: str) -> Call[Page[AgentInfo]]:
    """Fetches one page of the known agents."""
    request = pb.ListAgentsRequest(alive_only=alive_only, all_hosts=all_hosts, page_token=page_token)
    return Call(Service.MAILBOX, "ListAgents", request, conversion.agents_from)


def get_status() -> Call[Status]:
    """Fetches the state of the workers from the supervisor service."""
    return Call(Service.SUPERVISOR, "GetStatus", pb.GetStatusRequest(), conversion.status_from)


def get_metrics() -> Call[list[MetricSample]]:
    """Fetches the metrics of the workers."""
    return Call(Service.SUPERVISOR, "GetMetrics", pb.GetMetricsRequest(), conversion.metrics_from)


def health() -> Call[Health]:
    """Fetches the health of the whole daemon from the standard health service."""
    return Call(Service.HEALTH, "Check", health_pb2.HealthCheckRequest(), conversion.health_from)


def subscribe_request(agent: str | None, options: SubscribeOptions, cursor: Cursor) -> pb.SubscribeRequest:
    """Builds the request that starts or resumes a stream at the cursor."""
    return pb.SubscribeRequest(
        agent=_text("agent", agent or ""),
        all_agents=options.get("all_agents", False),
        after_id=_text("after_id", cursor.after_id or ""),
        include_unread=cursor.include_unread,
        include_receipts=options.get("include_receipts", False),
        observe=options.get("observe", False),
        present=options.get("present", False),
        max_batch=MAX_BATCH,
        preview_bytes=options.get("preview_bytes") or 0,
    )


def _draft(content: str, default_sender: str | None, options: SendOptions) -> pb.SendMessageRequest:
    sender = options.get("sender")
    given: dict[str, Any] = {
        name: encode(name, value) for name, encode in _OPTIONS if (value := options.get(name)) is not None
    }
    return pb.SendMessageRequest(
        sender=_sender(default_sender if sender is None else sender),
        content=_content(content),
        idempotency_key=_text("idempotency_key", options.get("idempotency_key") or _new_key()),
        **given,
    )


def _new_key() -> str:
    """Returns a key that nobody else has. It begins with the time, so that the daemon stores new keys side by side."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def _content(text: str) -> str:
    """Rejects oversized content here: beyond 16 MiB the transport would reject it without an explanation."""
    size = len(_text("content", text).encode())
    if size > MAX_CONTENT_BYTES:
        raise InvalidArgument(
            f"content has {size:,} bytes (limit {MAX_CONTENT_BYTES:,}): shorten or split it",
            reason="CONTENT_TOO_LARGE",
            field="content",
        )
    return text


def _sender(name: str | None) -> str:
    if name is not None:  # the daemon rejects an empty name
        return _text("sender", name)
    raise InvalidArgument(
        "sender is missing: pass sender=…, set it for the client, or set MAILROOM_AGENT",
        reason="SENDER_INVALID",
        field="sender",
    )


def _text(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{field} is not valid Unicode", reason="REQUEST_MALFORMED", field=field) from error
    return text


def _priority(field: str, priority: str) -> int:
    if priority in PRIORITIES:
        return PRIORITIES.index(priority) + 1
    sentence = f"{priority!r} is not a priority; use one of {', '.join(PRIORITIES)}"
    raise InvalidArgument(sentence, reason="PRIORITY_INVALID", field=field)


def _metadata(_: str, metadata: Mapping[str, Any]) -> Struct | None:
    return struct_from_metadata(metadata) if metadata else None


def _state(state: str) -> pb.DeliveryState:
    try:
        return cast("pb.DeliveryState", pb.DeliveryState.Value(f"DELIVERY_STATE_{state.upper()}"))
    except ValueError as error:
        known = ", ".join(known for known in DeliveryState if known is not DeliveryState.UNKNOWN)
        sentence = f"{state!r} is not a delivery state; use one of {known}"
        raise InvalidArgument(sentence, reason="REQUEST_MALFORMED", field="states") from error


def _duration(field: str, span: Span | None, reason: str = "") -> Duration | None:
    if span is None:
        return None
    duration = Duration()
    try:
        duration.FromTimedelta(span if isinstance(span, timedelta) else timedelta(seconds=span))
    except (ValueError, OverflowError) as error:
        reason = reason or f"{field.upper()}_INVALID"
        raise InvalidArgument(f"{field}: {span!r} is not a valid duration", reason=reason, field=field) from error
    return duration


def _moment(field: str, moment: Deadline) -> Timestamp:
    """Returns a moment, or the end of a span that begins now."""
    timestamp = Timestamp()
    try:
        if not isinstance(moment, datetime):
            moment = datetime.now(UTC) + (moment if isinstance(moment, timedelta) else timedelta(seconds=moment))
        elif moment.tzinfo is None:
            raise ValueError("it has no time zone")
        timestamp.FromDatetime(moment)
    except (ValueError, OverflowError) as error:
        reason = f"{field.upper()}_INVALID"
        raise InvalidArgument(
            f"{field}: {moment!r} is not a valid time ({error})", reason=reason, field=field
        ) from error
    return timestamp


def _portions(ids: str | Iterable[str]) -> Iterator[list[str]]:
    message_ids = [_text("message_ids", message_id) for message_id in ([ids] if isinstance(ids, str) else ids)]
    for start in range(0, len(message_ids), MAX_IDS_PER_CALL):
        yield message_ids[start : start + MAX_IDS_PER_CALL]


def _nothing(_response: pb.MarkOfferedResponse) -> None:
    return None


_BY_KIND: dict[Kind, Callable[[str, Any], Any]] = {
    TEXT: _text,
    OBJECT: _metadata,
    MESSAGE_ID: _text,
    PRIORITY: _priority,
    LIFETIME: _duration,
    MOMENT: _moment,
}
_OPTIONS = tuple((field.name, _BY_KIND[field.kind]) for field in SENT_FIELDS[3:])  # beside names and content
