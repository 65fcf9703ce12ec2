"""Validation — decides whether a request is well formed.

Owns the checks that need nothing but the request; a field's limit and reason are in `mailroom.message_fields`. Not
here: the checks that depend on a mailbox, such as a full one or a message loop (`mailbox.requests`).
"""

__all__ = ["check_agent", "check_draft", "check_key", "check_recipient", "check_session", "parse_message_id"]

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

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
    values = _checked_values(draft)
    if check_recipient:
        _check_recipient(values[0])
    for check, value in zip(_CHECKS, values[1:], strict=True):
        check(value)


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


def check_agent(name: str) -> None:
    """Checks the name of an agent or mailbox.

    Raises:
        MailroomError: AGENT_INVALID.
    """
    _check_name(name, Reason.AGENT_INVALID, "agent")


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


def _name_check(field: MessageField, reason: Reason) -> Callable[[str], None]:
    return partial(_check_name, reason=reason, field=field.name)


def _text_check(field: MessageField, reason: Reason) -> Callable[[str], None]:
    name, limit = field.name, field.limit

    def check(text: str) -> None:
        if len(text) * 4 <= limit:  # a character takes at most four bytes: most texts need not be encoded
            return
        size = len(text.encode())
        if size > limit:
            raise too_large(reason, name, size, limit, "bytes of UTF-8")

    return check


def _object_check(field: MessageField, reason: Reason) -> Callable[[bytes], None]:
    name, limit = field.name, field.limit

    def check(encoded: bytes) -> None:
        if len(encoded) > limit:
            raise too_large(reason, name, len(encoded), limit, "bytes as JSON")

    return check


def _priority_check(field: MessageField, reason: Reason) -> Callable[[int], None]:
    def check(priority: int) -> None:
        if not Priority.LOW <= priority <= Priority.URGENT:
            raise MailroomError(reason, f"{field.name}: {priority} is not a priority", field=field.name)

    return check


def _lifetime_check(field: MessageField, reason: Reason) -> Callable[[int], None]:
    name, limit = field.name, field.limit

    def check(milliseconds: int) -> None:
        if not 0 <= milliseconds <= limit:
            raise MailroomError(
                reason,
                f"{name} must be between one millisecond and ten years; omit it for a message that never expires",
                field=name,
            )

    return check


def _moment_check(field: MessageField, reason: Reason) -> Callable[[int], None]:
    name, latest_ms = field.name, LATEST_MS + field.limit

    def check(moment_ms: int) -> None:
        if not 0 <= moment_ms <= latest_ms:
            raise MailroomError(reason, f"{name} must be a time after 1970 and at most ten years ahead", field=name)

    return check


_CHECKS_BY_KIND: dict[Kind, Callable[[MessageField, Reason], Callable[[Any], None]]] = {
    NAME: _name_check,
    TEXT: _text_check,
    OBJECT: _object_check,
    PRIORITY: _priority_check,
    LIFETIME: _lifetime_check,
    MOMENT: _moment_check,
}
_CHECKED = [field for field in FIELDS if field.kind in _CHECKS_BY_KIND]
_check_recipient, *_CHECKS = [_CHECKS_BY_KIND[field.kind](field, Reason[field.reason]) for field in _CHECKED]
_checked_values = attrgetter(*(field.stored for field in _CHECKED))
