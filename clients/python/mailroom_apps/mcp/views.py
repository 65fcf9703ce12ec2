"""Views — the answers of tools and resources, as models; clients see their JSON schemas.

Defaults are left out of an answer (type "text", normal priority, no metadata): every answer is part of an agent's
context. Invariant: an answer has no character that acts on a terminal or hides from people, and no tag of an agent
program; `body_of` escapes them.
"""

__all__ = [
    "AcknowledgedView",
    "AgentView",
    "AgentsView",
    "BroadcastView",
    "CopyView",
    "InboxView",
    "MessageView",
    "SentView",
    "StatusView",
    "StepView",
    "body_of",
    "message_view",
    "status_view",
]

from collections.abc import Mapping
from typing import Any, Literal, cast

from mailroom.messages import Message, TrackedMessage
from mailroom.records import iso_utc
from mailroom.states import DeliveryState, Priority
from pydantic import BaseModel

from mailroom_apps.printable import defused


class MessageView(BaseModel):
    """One message. `sender_verified` false: any local program may use this name. `shown_before`: shown already.

    `next_offset`: the content goes on there.
    """

    id: str
    sender: str
    sender_verified: bool
    content: str
    offset: int | None = None
    next_offset: int | None = None
    timestamp: str | None = None
    shown_before: bool
    type: str | None = None
    thread_id: str | None = None
    in_reply_to: str | None = None
    priority: str | None = None
    expires_at: str | None = None
    reply_by: str | None = None
    metadata: dict[str, Any] | None = None
    metadata_omitted: str | None = None


class InboxView(BaseModel):
    """Unread messages. `more`: there are others. `note`: anything unusual, e.g. that the daemon is down."""

    agent: str
    messages: list[MessageView]
    more: bool
    source: Literal["daemon", "files"]
    note: str | None = None


class AcknowledgedView(BaseModel):
    """The messages that are read now, and the ids that the mailbox does not have."""

    acknowledged: list[str]
    unknown: list[str]


class SentView(BaseModel):
    """A message that was stored. `note`: anything its sender should know, e.g. that the recipient is unknown."""

    id: str
    recipient: str
    state: str
    recipient_known: bool
    note: str | None = None


class CopyView(BaseModel):
    """One copy of a broadcast: it has an id, or an error."""

    recipient: str
    id: str | None = None
    state: str | None = None
    error: str | None = None


class BroadcastView(BaseModel):
    """The result for each copy, in the order of the recipients."""

    results: list[CopyView]


class AgentView(BaseModel):
    """One agent. `alive`: it is connected, or was active within the last five minutes."""

    name: str
    alive: bool
    last_seen: str | None = None
    unread: int
    sessions: list[str] | None = None
    more_sessions: int | None = None


class AgentsView(BaseModel):
    """Known agents. `more`: how many others are known."""

    agents: list[AgentView]
    more: int | None = None


class StepView(BaseModel):
    """One step of a message's delivery."""

    state: str
    timestamp: str | None = None


class StatusView(BaseModel):
    """A message's delivery state: stored, filed, offered, read, expired or returned; in its history also overdue."""

    id: str
    sender: str
    recipient: str
    state: str
    history: list[StepView]
    note: str | None = None


def body_of(view: BaseModel) -> dict[str, Any]:
    """Returns a view as a JSON object whose texts are harmless, also the names inside metadata."""
    return cast("dict[str, Any]", _printable(view.model_dump(mode="json", exclude_none=True)))


def message_view(message: Message, *, shown_before: bool) -> MessageView:
    """Returns a message as agents see it."""
    return MessageView(
        id=message.id,
        sender=message.sender,
        sender_verified=message.sender_verified,
        content=message.content,
        timestamp=iso_utc(message.timestamp) if message.timestamp else None,
        shown_before=shown_before,
        type=message.type if message.type != "text" else None,
        thread_id=message.thread_id,
        in_reply_to=message.in_reply_to,
        priority=message.priority.value if message.priority is not Priority.NORMAL else None,
        expires_at=iso_utc(message.expires_at) if message.expires_at else None,
        reply_by=iso_utc(message.reply_by) if message.reply_by else None,
        metadata=message.metadata or None,
    )


def status_view(tracked: TrackedMessage) -> StatusView:
    """Returns the delivery state of a message."""
    message, delivery = tracked.message, tracked.delivery
    notes = [
        note
        for note in (
            delivery.inbox_file_error and f"its inbox file is not written yet: {delivery.inbox_file_error}",
            delivery.team_inbox_error and f"it is not in its team inbox yet: {delivery.team_inbox_error}",
            not delivery.recipient_known
            and message.state is not DeliveryState.READ
            and f'unknown recipient "{message.recipient}": no agent with this name has connected yet',
        )
        if note
    ]
    steps = [
        StepView(state=step.state.value, timestamp=iso_utc(step.timestamp) if step.timestamp else None)
        for step in tracked.history
    ]
    return StatusView(
        id=message.id,
        sender=message.sender,
        recipient=message.recipient,
        state=message.state.value,
        history=steps,
        note="; ".join(notes) or None,
    )


def _printable(value: object) -> object:
    match value:
        case str():
            return defused(value)
        case Mapping():
            items = cast("Mapping[str, object]", value).items()
            return {defused(name): _printable(member) for name, member in items}
        case list():
            return [_printable(member) for member in cast("list[object]", value)]
        case _:
            return value
