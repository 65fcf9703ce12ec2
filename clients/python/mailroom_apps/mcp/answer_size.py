"""AnswerSize — answers that no client cuts: as many messages as fit, and a long one in parts.

Clients keep different amounts of an answer, and cut the rest, some in the middle; the model is not told what is
missing. MAX_BYTES of JSON is what all of those that were measured pass on (docs/agents.md names them). A message that
does not fit by itself ends with `next_offset`, at which `check_inbox` reads on. It counts as shown with its last part.
Invariant: the text of an answer has at most MAX_BYTES, and a message of it stands on a line of its own.
"""

__all__ = ["MAX_BYTES", "Fitted", "encode", "fit_messages", "fit_views"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import orjson
from mailroom.messages import Message
from pydantic import BaseModel

from mailroom_apps.mcp.views import MessageView, body_of, message_view

MAX_BYTES = 9_000
MAX_METADATA_BYTES = 2_000  # of a message; more is left out, and said so
ENVELOPE_BYTES = 400  # keys around the messages, beside the note

View = TypeVar("View", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What goes into one answer.

    Attributes:
        views: the messages, the last one perhaps in part.
        whole: those whose last part is among them.
    """

    views: list[MessageView]
    whole: list[Message]


def encode(body: dict[str, Any]) -> str:
    """Returns a body as JSON, in which each entry of its list has a line of its own."""
    lists = [key for key, value in body.items() if isinstance(value, list) and value]
    if len(lists) != 1:
        return orjson.dumps(body).decode()
    (name,) = lists
    entries = cast("list[object]", body[name])
    rest = orjson.dumps({key: value for key, value in body.items() if key != name}).decode()
    lines = ",\n".join(orjson.dumps(entry).decode() for entry in entries)
    return f'{{"{name}":[\n{lines}\n]{"," if rest != "{}" else ""}{rest[1:]}'


def fit_messages(
    messages: Sequence[Message], note: str | None, was_shown: Callable[[Message], bool], offset: int = 0
) -> Fitted:
    """Returns the first messages that fit into one answer; at least a part of the first.

    Args:
        messages: the oldest first.
        note: what else the answer says.
        was_shown: whether a message was shown before.
        offset: in the content of the first message: where to go on.
    """
    room = MAX_BYTES - ENVELOPE_BYTES - len((note or "").encode())
    views: list[MessageView] = []
    whole: list[Message] = []
    for message in messages:
        view = _view(message, offset, shown_before=was_shown(message))
        if (size := _size(view)) <= room:
            whole.append(message)
        elif not views:
            view = _part(view, room)
            size = room
        else:
            break
        views.append(view)
        room -= size
        offset = 0
        if view.next_offset is not None:
            break
    return Fitted(views, whole)


def fit_views(views: Sequence[View]) -> list[View]:
    """Returns the first views that fit into one answer."""
    room = MAX_BYTES - ENVELOPE_BYTES
    fitting: list[View] = []
    for view in views:
        room -= _size(view)
        if room < 0:
            break
        fitting.append(view)
    return fitting


def _view(message: Message, offset: int, *, shown_before: bool) -> MessageView:
    view = message_view(message, shown_before=shown_before)
    if offset:
        view.content, view.offset = view.content[offset:], offset
    metadata_bytes = len(orjson.dumps(view.metadata)) if view.metadata else 0
    if metadata_bytes > MAX_METADATA_BYTES:
        view.metadata, view.metadata_omitted = None, f"{metadata_bytes} bytes: read the resource of this message"
    return view


def _part(view: MessageView, room: int) -> MessageView:
    """Returns the longest beginning of a message that has at most `room` bytes."""
    content, offset = view.content, view.offset or 0
    fits, too_long = 1, min(len(content), room)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        view.content, view.next_offset = content[:middle], offset + middle
        if _size(view) <= room:
            fits = middle
        else:
            too_long = middle
    view.content, view.next_offset = content[:fits], offset + fits
    return view


def _size(view: BaseModel) -> int:
    return len(orjson.dumps(body_of(view))) + 2  # the comma and the end of its line
