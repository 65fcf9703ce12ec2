"""SendTools — the tools that an agent sends with: send_message, reply, broadcast.

Each send carries an idempotency key. If it is unknown whether a message was stored, the error names the key, so that
repeating the call does not duplicate the message.
"""

__all__ = ["SendTools"]

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal
from uuid import uuid4

from mailroom.aio import AsyncMailroom
from mailroom.errors import DeadlineExceeded, InvalidArgument, MailroomError, Unavailable, error_of
from mailroom.messages import Delivery, SendOutcome, SentMessage
from mailroom.options import SendOptions
from pydantic import Field, WithJsonSchema

from mailroom_apps.mcp.views import BroadcastView, CopyView, SentView
from mailroom_apps.names import is_member, near_names

SEND_TIMEOUT_SEC = 10.0
LOOK_UP_TIMEOUT_SEC = 2.0  # for suggestions, after the message was stored

PriorityName = Literal["low", "normal", "high", "urgent"]
# `minimum`, since some front ends refuse `exclusiveMinimum`; and a named property, since they refuse an object without.
MIN_SEC = 0.001
Metadata = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "properties": {"topic": {"type": "string"}}, "additionalProperties": True}),
]
TtlSec = Annotated[float, Field(ge=MIN_SEC, description="Expires after this many seconds")]
ReplyBySec = Annotated[
    float, Field(ge=MIN_SEC, description="Without an answer after this many seconds: receipt OVERDUE")
]
Key = Annotated[str, Field(description="Same key: sent once")]


class SendTools:
    """The tools for sending.

    Args:
        client: the client of the daemon.
        team: whose members use these tools, too; None: there is none.
    """

    def __init__(self, client: AsyncMailroom, team: str | None = None) -> None:
        self._client = client
        self._team = team

    async def send_message(
        self,
        from_session_id: str,
        to_session_id: str,
        content: str,
        thread_id: str | None = None,
        in_reply_to: str | None = None,
        priority: PriorityName = "normal",
        message_type: str = "text",
        metadata: Metadata | None = None,
        ttl_sec: TtlSec | None = None,
        reply_by_sec: ReplyBySec | None = None,
        idempotency_key: Key | None = None,
    ) -> SentView:
        """Sends one message; see `SendOptions`."""
        options = SendOptions(
            sender=from_session_id,
            type=message_type,
            metadata=metadata,
            thread_id=thread_id,
            in_reply_to=in_reply_to,
            priority=priority,
            ttl=ttl_sec,
            reply_by=reply_by_sec,
        )
        return await self._send(to_session_id, content, options, idempotency_key)

    async def reply(
        self,
        session_id: str,
        message_id: str,
        content: str,
        priority: PriorityName = "normal",
        metadata: Metadata | None = None,
        idempotency_key: Key | None = None,
    ) -> SentView:
        """Answers a message, to its sender and in its thread. The answered message stays unread.

        The answer to a message for a member of the agent's team comes from that member.

        Raises:
            InvalidArgument: the agent sent the message to another one. A message to itself can be answered.
        """
        original = (await self._client.get_message(message_id, timeout=SEND_TIMEOUT_SEC)).message
        if original.sender == session_id != original.recipient:
            raise InvalidArgument(
                f"{session_id} sent message {message_id} itself, to {original.recipient}: use send_message",
                reason="REPLY_TO_SELF",
                field="message_id",
            )
        options = SendOptions(
            sender=original.recipient if is_member(original.recipient, self._team) else session_id,
            thread_id=original.thread_id,
            in_reply_to=message_id,
            priority=priority,
            metadata=metadata,
        )
        return await self._send(original.sender, content, options, idempotency_key)

    async def broadcast(
        self,
        from_session_id: str,
        to_session_ids: list[str],
        content: str,
        thread_id: str | None = None,
        priority: PriorityName = "normal",
        message_type: str = "text",
        metadata: Metadata | None = None,
        idempotency_key: Key | None = None,
    ) -> BroadcastView:
        """Sends an independent copy to each recipient."""
        async with _key_in_errors(idempotency_key) as key:
            outcomes = await self._client.broadcast(
                to_session_ids,
                content,
                sender=from_session_id,
                type=message_type,
                thread_id=thread_id,
                priority=priority,
                metadata=metadata,
                idempotency_key=key,
                timeout=SEND_TIMEOUT_SEC,
            )
        return BroadcastView(results=[_copy(outcome) for outcome in outcomes])

    async def _send(self, to: str, content: str, options: SendOptions, key: str | None) -> SentView:
        async with _key_in_errors(key) as idempotency_key:
            options["idempotency_key"] = idempotency_key
            sent = await self._client.send(to, content, timeout=SEND_TIMEOUT_SEC, **options)
        return SentView(
            id=sent.id,
            recipient=sent.message.recipient,
            state=sent.delivery.state.value,
            recipient_known=sent.delivery.recipient_known,
            note=await self._note(sent),
        )

    async def _note(self, sent: SentMessage) -> str | None:
        notes = _delivery_notes(sent.delivery)
        if not sent.delivery.recipient_known:
            notes.append(await self._unknown_recipient_note(sent.message.recipient))
        return " ".join(notes) or None

    async def _unknown_recipient_note(self, recipient: str) -> str:
        try:
            known = [agent.name for agent in await self._client.agents(timeout=LOOK_UP_TIMEOUT_SEC)]
        except MailroomError:  # the message was sent; a missing suggestion is not an error
            known = []
        near = near_names(recipient, known)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return (
            f'Unknown recipient "{recipient}": no agent with this name has connected yet. '
            f"The message is stored and will be delivered when it does.{hint}"
        )


def _delivery_notes(delivery: Delivery) -> list[str]:
    errors = (("inbox file", delivery.inbox_file_error), ("team inbox", delivery.team_inbox_error))
    return [f"The {copy} is not written yet: {error}." for copy, error in errors if error]


def _copy(outcome: SendOutcome) -> CopyView:
    sent, error = outcome.sent, outcome.error
    return CopyView(
        recipient=outcome.recipient,
        id=sent.id if sent else None,
        state=sent.delivery.state.value if sent else None,
        error=f"{error.message} ({error.reason})" if error else None,
    )


@asynccontextmanager
async def _key_in_errors(given: str | None) -> AsyncGenerator[str]:
    """Gives the key to send with, and names it in errors that leave open whether the message was stored."""
    key = given or uuid4().hex
    try:
        yield key
    except (Unavailable, DeadlineExceeded) as error:
        sentence = (
            f"{error.message.rstrip('.')}. Then repeat this call with idempotency_key {key}: the message is sent once, "
            "whether or not this attempt succeeded."
        )
        raise error_of(error.code, sentence, reason=error.reason) from error
