"""Requests — what the fields of several requests have in common: limits, ids, deadlines, pages.

Owns their checks and defaults. Not here: a draft's checks (`core.validation`).
"""

__all__ = [
    "check_length",
    "clamp_limit",
    "has_more",
    "messages_that_fit",
    "parse_message_ids",
    "time_left_sec",
    "traceparent_of",
]

from collections.abc import Sequence

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.auth.caller import Context
from mailroomd.core.validation import parse_message_id
from mailroomd.gateway.conversion import message_to_proto
from mailroomd.model.errors import MailroomError, Reason, too_large
from mailroomd.model.limits import MAX_IDS_PER_CALL, MAX_PAGE_BYTES
from mailroomd.model.message import Message
from mailroomd.model.page import Page
from mailroomd.observability.tracing import tracing


def time_left_sec(context: Context) -> float | None:
    """Returns the seconds until a call's deadline; None if it has none."""
    return context.time_remaining()


def traceparent_of(context: Context) -> str:
    """Returns the `traceparent` of a call; "" if it has none or tracing is off."""
    if not tracing.is_on:
        return ""
    return next((value for name, value in context.invocation_metadata() or () if name == "traceparent"), "")


def clamp_limit(requested: int, default: int, maximum: int, field: str) -> int:
    """Returns a requested number of items: the default for 0, and never more than the maximum.

    Raises:
        MailroomError: the number is negative.
    """
    if requested < 0:
        raise MailroomError(
            Reason.LIMIT_INVALID, f"{field} must be between 1 and {maximum}; 0 means {default}", field=field
        )
    return min(requested or default, maximum)


def check_length(text: str, max_chars: int, reason: Reason, field: str) -> None:
    """Checks the length of a text in characters.

    Raises:
        MailroomError: the text is too long.
    """
    if len(text) > max_chars:
        raise too_large(reason, field, len(text), max_chars, "characters")


def parse_message_ids(texts: Sequence[str]) -> list[int]:
    """Returns the message ids of a request.

    Raises:
        MailroomError: there are too many ids, or one is malformed.
    """
    if len(texts) > MAX_IDS_PER_CALL:
        raise MailroomError(
            Reason.TOO_MANY,
            f"{len(texts):,} message ids in one call, the limit is {MAX_IDS_PER_CALL:,}: use several calls",
            field="message_ids",
        )
    return [parse_message_id(text, "message_ids") for text in texts]


def messages_that_fit(messages: list[Message]) -> list[pb.Message]:
    """Returns as many messages as one response may carry, at least one, as protobuf messages."""
    protos: list[pb.Message] = []
    room = MAX_PAGE_BYTES
    for message in messages:
        proto = message_to_proto(message)
        room -= proto.ByteSize()  # metadata is several times as large as in JSON
        if room < 0 and protos:
            break
        protos.append(proto)
    return protos


def has_more(returned: list[pb.Message], page: Page[Message], limit: int) -> bool:
    """Returns whether a response leaves out messages, given a page that was read with `limit + 1`."""
    return len(returned) < len(page) or (page.is_cut and len(page) <= limit)
