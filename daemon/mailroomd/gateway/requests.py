"""Requests — what the fields of several requests have in common: bounds, ids, deadlines, pages.

Owns their checks and defaults. Not here: a draft's checks (`core.validation`).
"""

__all__ = ["bounded", "check_length", "fitting", "has_more", "message_ids", "time_left", "trace_of"]

from collections.abc import Sequence

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import parse_message_id
from mailroomd.gateway.conversion import message_to_proto
from mailroomd.gateway.handlers import Context
from mailroomd.model.errors import MailroomError, Reason, too_large
from mailroomd.model.limits import MAX_IDS_PER_CALL, MAX_PAGE_BYTES
from mailroomd.model.message import Message
from mailroomd.model.page import Page
from mailroomd.observability.tracing import tracing


def time_left(context: Context) -> float | None:
    """Returns the seconds until a call's deadline, None if it has none."""
    return context.time_remaining()


def trace_of(context: Context) -> str:
    """Returns the `traceparent` that a call came with; "" where it has none, or nothing is traced."""
    if not tracing.is_on:
        return ""
    found = (value for name, value in context.invocation_metadata() or () if name == "traceparent")
    return next(found, "")


def bounded(asked: int, default: int, most: int, field: str) -> int:
    """Returns how many are wanted: the default where 0 is asked for, `most` at most.

    Raises:
        MailroomError: it is negative.
    """
    if asked < 0:
        raise MailroomError(
            Reason.LIMIT_INVALID, f"{field} is a number from 1 to {most}; 0 means {default}", field=field
        )
    return min(asked or default, most)


def check_length(text: str, most: int, reason: Reason, field: str) -> None:
    """Passes a text of at most so many characters.

    Raises:
        MailroomError: it is longer.
    """
    if len(text) > most:
        raise too_large(reason, field, len(text), most, "characters")


def message_ids(texts: Sequence[str]) -> list[int]:
    """Returns the numbers behind a request's message ids.

    Raises:
        MailroomError: they are too many, or one is none.
    """
    if len(texts) > MAX_IDS_PER_CALL:
        raise MailroomError(
            Reason.TOO_MANY,
            f"{len(texts):,} ids in one call, {MAX_IDS_PER_CALL:,} at most: use several calls",
            field="message_ids",
        )
    return [parse_message_id(text, "message_ids") for text in texts]


def fitting(messages: list[Message]) -> list[pb.Message]:
    """Returns as many messages as one response may carry, one at least, as the contract has them."""
    kept: list[pb.Message] = []
    room = MAX_PAGE_BYTES
    for message in messages:
        said = message_to_proto(message)
        room -= said.ByteSize()  # metadata takes several times what it takes as JSON
        if room < 0 and kept:
            break
        kept.append(said)
    return kept


def has_more(kept: list[pb.Message], found: Page[Message], limit: int) -> bool:
    """Returns whether a response leaves something out, of a read that asked for one more than its limit."""
    return len(kept) < len(found) or (found.is_cut and len(found) <= limit)
