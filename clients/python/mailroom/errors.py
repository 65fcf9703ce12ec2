"""MailroomError — everything that can go wrong between a program and the mail room.

One class for each gRPC code that the daemon answers with, so that callers catch what they can act on and read the
stable `reason` for the rest. Not here: reading a gRPC error (`failures`). Nothing in this module knows gRPC.
"""

# ruff: noqa: N818 - named after the gRPC codes, as everybody knows them

__all__ = [
    "AlreadyExists",
    "Cancelled",
    "ClientClosed",
    "DaemonNotRunning",
    "DeadlineExceeded",
    "InvalidArgument",
    "MailroomError",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "TlsFailed",
    "Unauthenticated",
    "Unavailable",
    "code_name",
    "error_of",
]

from collections.abc import Sequence
from typing import Any


class MailroomError(Exception):
    """A call that did not do what was asked.

    Attributes:
        message: what is wrong and what to do, one sentence for people.
        code: the name of the gRPC status code, e.g. "INVALID_ARGUMENT".
        reason: stable and for programs, e.g. "RECIPIENT_INVALID"; "" when the daemon gave none.
        field: the request's field that is at fault, or None.
        retry_after_sec: when the daemon wants to be asked again, or None.
    """

    default_code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        reason: str = "",
        field: str | None = None,
        retry_after_sec: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.field = field
        self.retry_after_sec = retry_after_sec

    def to_dict(self) -> dict[str, Any]:
        """Returns the error as JSON-ready values."""
        return {
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "field": self.field,
            "retry_after_sec": self.retry_after_sec,
        }


class InvalidArgument(MailroomError):
    """The request breaks a rule; `field` says where. Sending it again does not help."""

    default_code = "INVALID_ARGUMENT"


class NotFound(MailroomError):
    """There is no such message."""

    default_code = "NOT_FOUND"


class AlreadyExists(MailroomError):
    """The idempotency key was used for a different request (IDEMPOTENCY_KEY_REUSED)."""

    default_code = "ALREADY_EXISTS"


class ResourceExhausted(MailroomError):
    """Something is full (MAILBOX_FULL, STORAGE_FULL, TOO_MANY_WAITING), two agents loop (LOOP_GUARD), or this client
    asks too much (RATE_LIMITED, TOO_MANY_STREAMS, TOO_MANY_BYTES).
    """

    default_code = "RESOURCE_EXHAUSTED"


class Unavailable(MailroomError):
    """The daemon could not do it in time, say because a worker restarts; it was retried until the timeout."""

    default_code = "UNAVAILABLE"


class DaemonNotRunning(Unavailable):
    """Nobody answers where the daemon should be."""

    def __init__(self, address: str = "", *, cause: str = "", tried: Sequence[str] = ()) -> None:
        why = f" ({cause})" if cause else ""
        looked = f" Looked at: {'; '.join(tried)}." if tried else ""
        super().__init__(
            f"the mail room is not running: nobody answers at {address}{why}.{looked}"
            " Start it with `mailroomd`, or with `systemctl --user start mailroomd` where it is a service.",
            reason="DAEMON_NOT_RUNNING",
        )
        self.address = address
        self.tried = tuple(tried)


class TlsFailed(MailroomError):
    """No TLS came about with whoever answers at the address. Trying again does not help."""

    default_code = "UNAVAILABLE"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="TLS_FAILED")


class DeadlineExceeded(MailroomError):
    """No answer came within the timeout. Whether it was done is unknown; the same idempotency key makes sure."""

    default_code = "DEADLINE_EXCEEDED"


class PermissionDenied(MailroomError):
    """This client's token is not good for that: NOT_YOURS, ADMIN_ONLY."""

    default_code = "PERMISSION_DENIED"


class Unauthenticated(MailroomError):
    """The daemon wants to know who asks: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED."""

    default_code = "UNAUTHENTICATED"


class Cancelled(MailroomError):
    """The daemon ended the call; subscriptions resume by themselves."""

    default_code = "CANCELLED"


class ClientClosed(MailroomError):
    """This client was closed by its own program."""

    default_code = "CANCELLED"

    def __init__(self, message: str = "this client is closed: open a new one") -> None:
        super().__init__(message, reason="CLIENT_CLOSED")


_CODES = (  # by number: https://grpc.io/docs/guides/status-codes
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_CLASSES: tuple[type[MailroomError], ...] = (
    InvalidArgument,
    NotFound,
    AlreadyExists,
    ResourceExhausted,
    Unavailable,
    DeadlineExceeded,
    PermissionDenied,
    Unauthenticated,
    Cancelled,
)
_CLASS_OF = {cls.default_code: cls for cls in _CLASSES}


def code_name(number: int) -> str:
    """Returns the name of a gRPC status code."""
    return _CODES[number] if 0 <= number < len(_CODES) else "UNKNOWN"


def error_of(
    code: str,
    message: str,
    *,
    reason: str = "",
    field: str | None = None,
    retry_after_sec: float | None = None,
) -> MailroomError:
    """Returns the error for a gRPC status code's name; codes without a class of their own give a MailroomError."""
    cls = _CLASS_OF.get(code, MailroomError)
    return cls(message, code=code, reason=reason, field=field, retry_after_sec=retry_after_sec)
