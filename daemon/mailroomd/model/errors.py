"""MailroomError — a request that the daemon refuses, with a reason for programs and a sentence for people.

Owns the closed vocabulary of reasons: stable, upper snake case, part of the contract. Each sentence says what is wrong
and what to do. Not here: gRPC codes (`gateway.status` maps reasons to codes).
"""

__all__ = ["MailroomError", "Reason", "message_not_found", "search_too_long", "stopping", "too_large"]

from enum import StrEnum


class Reason(StrEnum):
    """Why a call failed."""

    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    RECIPIENT_INVALID = "RECIPIENT_INVALID"
    SENDER_INVALID = "SENDER_INVALID"
    AGENT_INVALID = "AGENT_INVALID"
    CONTENT_TOO_LARGE = "CONTENT_TOO_LARGE"
    TYPE_TOO_LONG = "TYPE_TOO_LONG"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    METADATA_TOO_DEEP = "METADATA_TOO_DEEP"
    METADATA_INVALID = "METADATA_INVALID"
    THREAD_ID_TOO_LONG = "THREAD_ID_TOO_LONG"
    MESSAGE_ID_INVALID = "MESSAGE_ID_INVALID"
    PRIORITY_INVALID = "PRIORITY_INVALID"
    TTL_INVALID = "TTL_INVALID"
    REPLY_BY_INVALID = "REPLY_BY_INVALID"
    WAIT_INVALID = "WAIT_INVALID"
    LIMIT_INVALID = "LIMIT_INVALID"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 - a cursor, not a secret
    QUERY_TOO_LONG = "QUERY_TOO_LONG"
    AFTER_ID_INVALID = "AFTER_ID_INVALID"
    SESSION_INVALID = "SESSION_INVALID"
    OPTIONS_CONFLICT = "OPTIONS_CONFLICT"
    TOO_MANY = "TOO_MANY"
    IDEMPOTENCY_KEY_INVALID = "IDEMPOTENCY_KEY_INVALID"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    MESSAGE_NOT_FOUND = "MESSAGE_NOT_FOUND"
    ALIAS_CONFLICT = "ALIAS_CONFLICT"
    TOO_MANY_ALIASES = "TOO_MANY_ALIASES"
    MAILBOX_FULL = "MAILBOX_FULL"
    STORAGE_FULL = "STORAGE_FULL"
    STORAGE_FAILED = "STORAGE_FAILED"
    TOO_MANY_WAITING = "TOO_MANY_WAITING"
    LOOP_GUARD = "LOOP_GUARD"
    WORKER_RESTARTING = "WORKER_RESTARTING"
    STOPPING = "STOPPING"
    INTERNAL = "INTERNAL"
    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105 - names of reasons, not secrets
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105
    NOT_YOURS = "NOT_YOURS"
    ADMIN_ONLY = "ADMIN_ONLY"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    TOO_MANY_BYTES = "TOO_MANY_BYTES"
    HOST_UNKNOWN = "HOST_UNKNOWN"
    AGENT_ELSEWHERE = "AGENT_ELSEWHERE"
    HOST_BACKLOG_FULL = "HOST_BACKLOG_FULL"


class MailroomError(Exception):
    """A refusal that a client can act on.

    Attributes:
        reason: stable, for programs.
        sentence: what is wrong and what to do, for people.
        field: the offending field of the request, or "".
        retry_after_ms: when to retry; 0 if retrying the same request will not help.
    """

    def __init__(self, reason: Reason, sentence: str, *, field: str = "", retry_after_ms: int = 0) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.field = field
        self.retry_after_ms = retry_after_ms


def stopping() -> MailroomError:
    """Returns the error for requests that arrive or wait while the daemon stops."""
    sentence = "mailroomd is stopping; retry once it is running again"
    return MailroomError(Reason.STOPPING, sentence, retry_after_ms=1000)


def message_not_found(message_id: str) -> MailroomError:
    """Returns the error for a message that does not exist, or that the caller may not see."""
    sentence = f"no message {message_id}: the id is wrong, or the message was deleted after its retention period"
    return MailroomError(Reason.MESSAGE_NOT_FOUND, sentence)


def search_too_long() -> MailroomError:
    """Returns the error for a search that found nothing within its time."""
    sentence = "the search timed out without a match: use rarer words, or name an agent or a thread"
    return MailroomError(Reason.QUERY_TOO_LONG, sentence, field="query")


def too_large(reason: Reason, field: str, size: int, limit: int, unit: str) -> MailroomError:
    """Returns the error for a field that exceeds its limit."""
    return MailroomError(
        reason,
        f"{field} has {size:,} {unit} (limit {limit:,}): shorten it or split it into several messages",
        field=field,
    )
