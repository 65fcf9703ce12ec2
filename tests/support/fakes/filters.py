"""filters — which messages a fake daemon lists, and how it divides names into pages and events into responses."""

__all__ = ["is_listed", "page_of", "preview_of", "responses_of", "shortened"]

from collections.abc import Iterator, Sequence

from mailroom.v1 import mailroom_pb2 as pb


def is_listed(message: pb.Message, request: pb.ListMessagesRequest) -> bool:
    """Returns whether a message matches a request of ListMessages."""
    words = request.query.lower().split()
    return (
        request.agent in ("", message.recipient)
        and not (request.unread_only and message.read)
        and request.thread_id in ("", message.thread_id)
        and request.sender in ("", message.sender)
        and (not request.states or message.state in request.states)
        and all(word in message.content.lower() for word in words)
    )


def preview_of(message: pb.Message, preview_bytes: int) -> pb.Message:
    """Returns a message as a list shows it; all of it for 0."""
    content = message.content.encode()
    if not preview_bytes:
        return message
    preview = pb.Message()
    preview.CopyFrom(message)
    preview.ClearField("metadata")
    preview.content = content[:preview_bytes].decode(errors="ignore")
    preview.content_size = len(content) if len(content) > preview_bytes else 0
    return preview


def shortened(event: pb.SubscribeResponse, preview_bytes: int) -> pb.SubscribeResponse:
    """Returns an event as a stream with previews has it."""
    if not (preview_bytes and event.HasField("message")):
        return event
    return pb.SubscribeResponse(message=preview_of(event.message, preview_bytes), event_id=event.event_id)


def page_of(names: Sequence[str], token: str, page_size: int) -> tuple[Sequence[str], str]:
    """Returns one page of the sorted names after a token, and the token of the next page."""
    rest = [name for name in names if name > token]
    page = rest[:page_size]
    return page, page[-1] if len(rest) > len(page) else ""


def responses_of(events: Sequence[pb.SubscribeResponse], size: int) -> Iterator[pb.SubscribeResponse]:
    """Yields events as responses with up to `size` events; an event that is alone has the form that it always had."""
    for start in range(0, len(events), max(1, size)):
        batch = events[start : start + max(1, size)]
        yield batch[0] if len(batch) == 1 else pb.SubscribeResponse(events=batch, event_id=batch[-1].event_id)
