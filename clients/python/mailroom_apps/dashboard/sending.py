"""Sending — what the operator sends: once, however often the page asks for it.

The page makes the key when it makes the draft, and keeps it until it knows the outcome. Each recipient gets a key of
its own that follows from it, so a repeated request is a repeated send, which the daemon stores once.
"""

__all__ = ["Submission", "send_to_all"]

import asyncio
import uuid
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from mailroom.aio import AsyncMailroom
from mailroom.errors import InvalidArgument, MailroomError
from mailroom.options import SendOptions

from mailroom_apps.dashboard.requests import UUID_PATTERN

TIMEOUT_SEC = 10.0
MAX_RECIPIENTS = 100
# With these nothing was stored. After any other error a message may be: the page asks again with its key.
REFUSALS = {
    "INVALID_ARGUMENT",
    "ALREADY_EXISTS",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
}


class Submission(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One message to one or several recipients, as the page sends it.

    Attributes:
        key: a UUID of the page.
        ttl_sec, reply_by_sec: from now on; None for none.
    """

    key: Annotated[str, msgspec.Meta(pattern=UUID_PATTERN)]
    to: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_RECIPIENTS)]
    content: Annotated[str, msgspec.Meta(min_length=1)]
    type: str = ""
    thread: str = ""
    answers: str = ""
    priority: str = "normal"
    metadata: dict[str, Any] | None = None
    ttl_sec: Annotated[float, msgspec.Meta(gt=0)] | None = None
    reply_by_sec: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def options(self, recipient: str) -> SendOptions:
        """Returns the options of the copy for a recipient."""
        options: SendOptions = {
            "priority": self.priority,
            "metadata": self.metadata,
            "thread_id": self.thread or None,
            "in_reply_to": self.answers or None,
            "idempotency_key": str(uuid.uuid5(uuid.UUID(self.key), recipient)),
        }
        if self.type:
            options["type"] = self.type
        if self.ttl_sec is not None:
            options["ttl"] = _span("ttl_sec", self.ttl_sec)
        if self.reply_by_sec is not None:
            options["reply_by"] = _span("reply_by_sec", self.reply_by_sec)
        return options


async def send_to_all(client: AsyncMailroom, submission: Submission) -> list[dict[str, Any]]:
    """Sends a copy to each recipient; returns one result each: `sent`, `unknown` or `refused`."""
    recipients = list(dict.fromkeys(submission.to))
    return await asyncio.gather(*(_send(client, submission, recipient) for recipient in recipients))


async def _send(client: AsyncMailroom, submission: Submission, recipient: str) -> dict[str, Any]:
    try:
        options = submission.options(recipient)
        sent = await client.send(recipient, submission.content, timeout=TIMEOUT_SEC, **options)
    except MailroomError as error:
        outcome = "refused" if error.code in REFUSALS else "unknown"
        return {"to": recipient, "outcome": outcome, "error": error.to_dict()}
    return {
        "to": recipient,
        "outcome": "sent",
        "id": sent.id,
        "state": sent.delivery.state,
        "known": sent.delivery.recipient_known,
        "file_error": sent.delivery.inbox_file_error,
    }


def _span(field: str, seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        raise InvalidArgument(f"{field} is too long", reason="TTL_INVALID", field=field) from error
