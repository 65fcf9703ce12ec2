"""Validation — decides whether a request is well formed.

Owns the checks that need nothing but the request. Not here: the checks that depend on a mailbox, such as a full one or
a message loop (`mailbox.requests`).
"""

__all__ = ["check_agent", "check_draft", "check_key", "check_recipient", "check_session", "parse_message_id"]

from mailroomd.model.errors import MailroomError, Reason, too_large
from mailroomd.model.ids import NOT_AN_ID, parse_id
from mailroomd.model.limits import (
    MAX_CONTENT_BYTES,
    MAX_KEY_CHARS,
    MAX_METADATA_BYTES,
    MAX_TTL_MS,
    MAX_TYPE_BYTES,
)
from mailroomd.model.message import Draft, Priority
from mailroomd.model.names import NAME_RULE, is_name


def check_draft(draft: Draft, *, check_recipient: bool = True) -> None:
    """Checks a draft before it is stored.

    Raises:
        MailroomError: with the reason and the offending field.
    """
    if check_recipient:
        _check_name(draft.recipient, Reason.RECIPIENT_INVALID, "recipient")
    _check_name(draft.sender, Reason.SENDER_INVALID, "sender")
    _check_bytes(draft.content, MAX_CONTENT_BYTES, Reason.CONTENT_TOO_LARGE, "content")
    _check_bytes(draft.type, MAX_TYPE_BYTES, Reason.TYPE_TOO_LONG, "type")
    _check_bytes(draft.thread_id, MAX_TYPE_BYTES, Reason.THREAD_ID_TOO_LONG, "thread_id")
    if len(draft.metadata) > MAX_METADATA_BYTES:
        raise too_large(Reason.METADATA_TOO_LARGE, "metadata", len(draft.metadata), MAX_METADATA_BYTES, "bytes as JSON")
    if not Priority.LOW <= draft.priority <= Priority.URGENT:
        raise MailroomError(Reason.PRIORITY_INVALID, f"priority: {draft.priority} is not a priority", field="priority")
    if not 0 <= draft.ttl_ms <= MAX_TTL_MS:
        raise MailroomError(
            Reason.TTL_INVALID,
            "ttl must be between one millisecond and ten years; omit it for a message that never expires",
            field="ttl",
        )


def check_recipient(name: str) -> None:
    """Checks the recipient of one copy of a broadcast.

    Raises:
        MailroomError: RECIPIENT_INVALID.
    """
    _check_name(name, Reason.RECIPIENT_INVALID, "recipient")


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


def _check_bytes(text: str, limit: int, reason: Reason, field: str) -> None:
    if len(text) * 4 <= limit:  # a character takes at most four bytes: most texts need not be encoded
        return
    size = len(text.encode())
    if size > limit:
        raise too_large(reason, field, size, limit, "bytes of UTF-8")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
