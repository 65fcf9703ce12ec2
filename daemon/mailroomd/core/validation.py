"""Validation — decides whether a request is well formed.

Owns the checks that need nothing but the request; a field's limit and reason are in `mailroom.message_fields`. Not
here: the checks that depend on a mailbox, such as a full one or a message loop (`mailbox.requests`).
"""

__all__ = [
    "check_agent",
    "check_draft",
    "check_key",
    "check_recipient",
    "check_sender",
    "check_session",
    "parse_message_id",
]

from collections.abc import Callable
from functools import partial
from typing import Any

from mailroom.generated import generate
from mailroom.message_fields import FIELDS, LIFETIME, MOMENT, NAME, OBJECT, PRIORITY, TEXT, Kind, MessageField

from mailroomd.model.clock import LATEST_MS
from mailroomd.model.errors import MailroomError, Reason, too_large
from mailroomd.model.ids import NOT_AN_ID, parse_id
from mailroomd.model.limits import MAX_KEY_CHARS
from mailroomd.model.message import Draft, Priority
from mailroomd.model.names import NAME_RULE, is_name


def check_draft(draft: Draft, *, check_recipient: bool = True) -> None:
    """Checks a draft before it is stored.

    Raises:
        MailroomError: with the reason and the offending field.
    """
    if check_recipient:
        _check_recipient(draft.recipient)
    _check_fields(draft)


def check_recipient(name: str) -> None:
    """Checks the recipient of one copy of a broadcast.

    Raises:
        MailroomError: RECIPIENT_INVALID.
    """
    _check_recipient(name)


def check_key(key: str) -> None:
    """Checks an idempotency key.

    Raises:
        MailroomError: it is longer than 128 characters or not printable ASCII.
    """
    if len(key) > MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise MailroomError(
            Reason.IDEMPOTENCY_KEY_INVALID,
            f"an idempotency key must be 1 to {MAX_KEY_CHARS} printable ASCII characters; use a UUID",
            field="idempotency_key",
        )


def check_agent(name: str, field: str = "agent") -> None:
    """Checks the name of an agent or mailbox.

    Raises:
        MailroomError: AGENT_INVALID.
    """
    _check_name(name, Reason.AGENT_INVALID, field)


def check_sender(name: str) -> None:
    """Checks the name of a sender.

    Raises:
        MailroomError: SENDER_INVALID.
    """
    _check_name(name, Reason.SENDER_INVALID, "sender")


def check_session(name: str) -> None:
    """Checks the name of a session.

    Raises:
        MailroomError: SESSION_INVALID.
    """
    _check_name(name, Reason.SESSION_INVALID, "session")


def parse_message_id(text: str, field: str, reason: Reason = Reason.MESSAGE_ID_INVALID) -> int:
    """Returns a message id as a number.

    Raises:
        MailroomError: the text is not an id.
    """
    try:
        return parse_id(text)
    except ValueError as error:
        raise MailroomError(
            reason,
            f"{field}: {_quoted(text)} is {NOT_AN_ID}",
            field=field,
        ) from error


def _check_name(name: str, reason: Reason, field: str) -> None:
    if not is_name(name):
        problem = f"{_quoted(name)} is not a valid name" if name else "the name is missing"
        raise MailroomError(reason, f"{field}: {problem}: {NAME_RULE}", field=field)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


# -- one check for each kind of field ---------------------------------------------------------------------------------


def _refuse_text(text: str, field: MessageField) -> None:
    size = len(text.encode())
    if size > field.limit:
        raise too_large(Reason[field.reason], field.name, size, field.limit, "bytes of UTF-8")


def _refuse_object(encoded: bytes, field: MessageField) -> None:
    raise too_large(Reason[field.reason], field.name, len(encoded), field.limit, "bytes as JSON")


def _refuse_name(name: str, field: MessageField) -> None:
    _check_name(name, Reason[field.reason], field.name)


def _refuse_priority(priority: int, field: MessageField) -> None:
    raise MailroomError(Reason[field.reason], f"{field.name}: {priority} is not a priority", field=field.name)


def _refuse_lifetime(_: int, field: MessageField) -> None:
    raise MailroomError(
        Reason[field.reason],
        f"{field.name} must be between one millisecond and ten years; omit it for a message that never expires",
        field=field.name,
    )


def _refuse_moment(_: int, field: MessageField) -> None:
    sentence = f"{field.name} must be a time after 1970 and at most ten years ahead"
    raise MailroomError(Reason[field.reason], sentence, field=field.name)


_CHECKS: dict[
    Kind, tuple[str, Callable[[Any, MessageField], None]]
] = {  # what is certainly valid, and what looks closer at the rest
    NAME: ("is_name({value})", _refuse_name),
    TEXT: ("len({value}) * 4 <= {limit}", _refuse_text),  # a character has at most four bytes: most are not encoded
    OBJECT: ("len({value}) <= {limit}", _refuse_object),
    PRIORITY: (f"{Priority.LOW:d} <= {{value}} <= {Priority.URGENT:d}", _refuse_priority),
    LIFETIME: ("0 <= {value} <= {limit}", _refuse_lifetime),
    MOMENT: (f"0 <= {{value}} <= {LATEST_MS} + {{limit}}", _refuse_moment),
}


def _check(field: MessageField) -> str:
    """Returns the lines that check one field of a draft."""
    value = f"draft.{field.stored}"
    condition = _CHECKS[field.kind][0].format(value=value, limit=field.limit)
    return f"    if not ({condition}):\n        refuse_{field.name}({value}, {field.name})\n"


_CHECKED = [field for field in FIELDS[1:] if field.kind in _CHECKS]
_check_recipient = partial(_refuse_name, field=FIELDS[0])
_check_fields = generate(
    f"def check_fields(draft):\n{''.join(map(_check, _CHECKED))}",
    {"is_name": is_name}
    | {field.name: field for field in _CHECKED}
    | {f"refuse_{field.name}": _CHECKS[field.kind][1] for field in _CHECKED},
)
