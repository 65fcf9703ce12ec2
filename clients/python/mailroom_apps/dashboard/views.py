"""Views — the SDK's values as the JSON that the page gets.

A list and the stream carry previews; the whole content goes only to the reading pane.
"""

__all__ = ["PREVIEW_BYTES", "event_view", "message_view", "tracked_view"]

from typing import Any

from mailroom.events import CommandResponse, Event
from mailroom.messages import Message, TrackedMessage
from mailroom.receipts import Receipt
from mailroom.records import iso_utc

from mailroom_apps.dashboard.markup import parse_markdown, plain

PREVIEW_CHARS = 400
PREVIEW_BYTES = 4_000  # of each message in lists and on the stream: what is shortened further here
SCANNED_CHARS = 2_000  # whose white space is collapsed for the preview


def message_view(message: Message) -> dict[str, Any]:
    """Returns a message for a row of a list."""
    return {
        "id": message.id,
        "from": message.sender,
        "to": message.recipient,
        "type": message.type,
        "thread": message.thread_id,
        "answers": message.in_reply_to,
        "priority": message.priority,
        "state": message.state,
        "verified": message.sender_verified,
        "at": iso_utc(message.timestamp) if message.timestamp else None,
        "expires_at": iso_utc(message.expires_at) if message.expires_at else None,
        "reply_by": iso_utc(message.reply_by) if message.reply_by else None,
        "size": message.content_size or len(message.content.encode(errors="surrogatepass")),
        "preview": " ".join(message.content[:SCANNED_CHARS].split())[:PREVIEW_CHARS],
    }


def tracked_view(tracked: TrackedMessage, *, formats: bool = True) -> dict[str, Any]:
    """Returns a message for the reading pane: with content, metadata, delivery and history.

    Args:
        tracked: the message.
        formats: whether to read its content as Markdown.
    """
    message = tracked.message
    return message_view(message) | {
        "content": message.content,
        "tree": parse_markdown(message.content) if formats else plain(message.content),
        "metadata": message.metadata,
        "delivery": tracked.delivery.to_dict(),
        "history": [receipt.to_dict() for receipt in tracked.history],
    }


def event_view(event: Event) -> dict[str, Any] | None:
    """Returns an event for the stream; None for a kind that the page has no use for."""
    match event:
        case Message():
            return {"kind": "mail"} | message_view(event)
        case Receipt():
            at = iso_utc(event.timestamp) if event.timestamp else None
            step = {"id": event.message_id, "to": event.recipient, "state": event.state, "at": at}
            return {"kind": "receipt"} | step | {"by": event.by, "reason": event.reason}
        case CommandResponse():
            return {"kind": "response", "session": event.session_id, "file": event.file_name}
        case _:
            return None
