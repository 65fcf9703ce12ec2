"""Call — one RPC as data: what is asked, of which service, and how the answer is read.

Both clients make their calls from here, so that a request is built in one place. Reading answers is `conversion`.
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
]

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtoMessage
from grpc_health.v1 import health_pb2

from mailroom import conversion
from mailroom.agents import AgentInfo
from mailroom.cursor import Cursor
from mailroom.drafts import Draft
from mailroom.errors import InvalidArgument
from mailroom.messages import Acknowledgement, Inbox, MessagePage, SendOutcome, SentMessage, TrackedMessage
from mailroom.metadata import struct_from_metadata
from mailroom.options import ListOptions, SendOptions, Span, SubscribeOptions
from mailroom.records import Page
from mailroom.states import Health, Priority
from mailroom.stats import MailboxStats, MetricSample, QueueStats, Status
from mailroom.v1 import mailroom_pb2 as pb

Result = TypeVar("Result")

MAX_CONTENT_BYTES = 1 << 20  # of UTF-8; the daemon takes no more
MAX_IDS_PER_CALL = 1000  # the daemon takes no more at once

_PRIORITIES = {
    Priority.LOW: pb.PRIORITY_LOW,
    Priority.NORMAL: pb.PRIORITY_NORMAL,
    Priority.HIGH: pb.PRIORITY_HIGH,
    Priority.URGENT: pb.PRIORITY_URGENT,
}


class Service(Enum):
    """The services of the daemon."""

    MAILBOX = "MailboxService"
    SUPERVISOR = "SupervisorService"
    HEALTH = "Health"


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One unary RPC. Every one may be repeated: what writes carries an idempotency key or is harmless twice.

    Attributes:
        extra_sec: how long the daemon may take on purpose, beyond the timeout.
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
    """Sends what was built before: its key makes sure that it is sent once."""
    return Call(Service.MAILBOX, "SendMessage", request, conversion.sent_from)


def draft_request(draft: Draft, default_sender: str | None) -> pb.SendMessageRequest:
    """Builds the request for one message.

    Raises:
        InvalidArgument: it could not arrive as it is.
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
    """Asks for unread messages."""
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


def acknowledge(agent: str, ids: str | Iterable[str]) -> Iterator[Call[Acknowledgement]]:
    """Marks messages read, in as many calls as it takes."""
    for some in _portions(ids):
        request = pb.AcknowledgeMessagesRequest(agent=_text("agent", agent), message_ids=some)
        yield Call(Service.MAILBOX, "AcknowledgeMessages", request, conversion.acknowledgement_from)


def mark_offered(agent: str, ids: str | Iterable[str]) -> Iterator[Call[None]]:
    """Records a hand-over, in as many calls as it takes."""
    for some in _portions(ids):
        request = pb.MarkOfferedRequest(agent=_text("agent", agent), message_ids=some)
        yield Call(Service.MAILBOX, "MarkOffered", request, _nothing)


def get_message(message_id: str) -> Call[TrackedMessage]:
    """Asks for one message."""
    request = pb.GetMessageRequest(id=_text("id", message_id))
    return Call(Service.MAILBOX, "GetMessage", request, conversion.tracked_from)


def list_messages(agent: str | None, page_token: str, options: ListOptions) -> Call[MessagePage]:
    """Asks for one page of a mailbox, or of every one."""
    request = pb.ListMessagesRequest(
        agent=_text("agent", agent or ""),
        unread_only=options.get("unread_only", False),
        thread_id=_text("thread_id", options.get("thread_id") or ""),
        query=_text("query", options.get("query") or ""),
        page_size=options.get("page_size") or 0,
        page_token=_text("page_token", page_token),
    )
    return Call(Service.MAILBOX, "ListMessages", request, conversion.page_from)


def clear(agent: str) -> Call[int]:
    """Deletes a mailbox."""
    request = pb.ClearMailboxRequest(agent=_text("agent", agent))
    return Call(Service.MAILBOX, "ClearMailbox", request, conversion.deleted_from)


def stats(agent: str | None, page_token: str) -> Call[Page[MailboxStats]]:
    """Asks for one page of counts."""
    request = pb.GetMailboxStatsRequest(agent=_text("agent", agent or ""), page_token=page_token)
    return Call(Service.MAILBOX, "GetMailboxStats", request, conversion.stats_from)


def queue_stats(session: str | None) -> Call[list[QueueStats]]:
    """Asks for counts of pending inbox files."""
    request = pb.GetQueueStatsRequest(session_id=_text("session_id", session or ""))
    return Call(Service.MAILBOX, "GetQueueStats", request, conversion.queue_stats_from)


def set_alias(agent: str, session: str, ttl: Span | None) -> Call[datetime | None]:
    """Says which agent is behind a session."""
    request = pb.SetAliasRequest(
        agent=_text("agent", agent), session=_text("session", session), ttl=_duration("ttl", ttl)
    )
    return Call(Service.MAILBOX, "SetAlias", request, conversion.expiry_from)


def agents(alive_only: bool, page_token: str) -> Call[Page[AgentInfo]]:
    """Asks for one page of who has been here."""
    request = pb.ListAgentsRequest(alive_only=alive_only, page_token=page_token)
    return Call(Service.MAILBOX, "ListAgents", request, conversion.agents_from)


def get_status() -> Call[Status]:
    """Asks the supervisor."""
    return Call(Service.SUPERVISOR, "GetStatus", pb.GetStatusRequest(), conversion.status_from)


def get_metrics() -> Call[list[MetricSample]]:
    """Asks for what the workers have counted."""
    return Call(Service.SUPERVISOR, "GetMetrics", pb.GetMetricsRequest(), conversion.metrics_from)


def health() -> Call[Health]:
    """Asks the standard health service about the daemon as a whole."""
    return Call(Service.HEALTH, "Check", health_pb2.HealthCheckRequest(), conversion.health_from)


def subscribe_request(agent: str | None, options: SubscribeOptions, cursor: Cursor) -> pb.SubscribeRequest:
    """Builds the request that starts or resumes a stream where the cursor stands."""
    return pb.SubscribeRequest(
        agent=_text("agent", agent or ""),
        all_agents=options.get("all_agents", False),
        after_id=_text("after_id", cursor.after_id or ""),
        include_unread=cursor.include_unread,
        include_receipts=options.get("include_receipts", False),
        observe=options.get("observe", False),
    )


def _draft(content: str, default_sender: str | None, options: SendOptions) -> pb.SendMessageRequest:
    metadata = options.get("metadata")
    sender = options.get("sender")
    return pb.SendMessageRequest(
        sender=_sender(default_sender if sender is None else sender),
        content=_content(content),
        type=_text("type", options.get("type", "text")),
        metadata=struct_from_metadata(metadata) if metadata else None,
        thread_id=_text("thread_id", options.get("thread_id") or ""),
        in_reply_to=_text("in_reply_to", options.get("in_reply_to") or ""),
        priority=_priority(options.get("priority")),
        ttl=_duration("ttl", options.get("ttl")),
        idempotency_key=_text("idempotency_key", options.get("idempotency_key") or uuid4().hex),
    )


def _content(text: str) -> str:
    """Refuses here what is too large: beyond 16 MiB the daemon's transport would, without saying why."""
    size = len(_text("content", text).encode())
    if size > MAX_CONTENT_BYTES:
        raise InvalidArgument(
            f"content has {size:,} bytes, the limit is {MAX_CONTENT_BYTES:,}: send less, or several messages",
            reason="CONTENT_TOO_LARGE",
            field="content",
        )
    return text


def _sender(name: str | None) -> str:
    if name is not None:  # an empty one is the daemon's to refuse
        return _text("sender", name)
    raise InvalidArgument(
        "a sender is missing: pass sender=…, give the client one, or set MAILROOM_AGENT",
        reason="SENDER_INVALID",
        field="sender",
    )


def _text(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{field} is not valid Unicode", reason="REQUEST_MALFORMED", field=field) from error
    return text


def _priority(priority: Priority | str | None) -> pb.Priority:
    if priority is None:
        return pb.PRIORITY_UNSPECIFIED
    known = {str(name): value for name, value in _PRIORITIES.items()}
    if priority in known:
        return known[priority]
    raise InvalidArgument(
        f"{priority!r} is no priority: {', '.join(known)}", reason="PRIORITY_INVALID", field="priority"
    )


def _duration(field: str, span: Span | None) -> Duration | None:
    if span is None:
        return None
    duration = Duration()
    try:
        duration.FromTimedelta(span if isinstance(span, timedelta) else timedelta(seconds=span))
    except (ValueError, OverflowError) as error:
        reason = f"{field.upper()}_INVALID"
        raise InvalidArgument(f"{field}: {span!r} is no length of time", reason=reason, field=field) from error
    return duration


def _portions(ids: str | Iterable[str]) -> Iterator[list[str]]:
    every = [_text("message_ids", some) for some in ([ids] if isinstance(ids, str) else ids)]
    for start in range(0, len(every), MAX_IDS_PER_CALL):
        yield every[start : start + MAX_IDS_PER_CALL]


def _nothing(_response: pb.MarkOfferedResponse) -> None:
    return None
