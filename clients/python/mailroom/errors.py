"""MailroomError — every error that the SDK raises.

There is one class for each gRPC status code that the daemon returns, so that callers can catch what they can handle
and look at the stable `reason` for details. Not here: the conversion of gRPC errors (`failures`). This module does not
depend on gRPC.
"""

# ruff: noqa: N818 - named after the well-known gRPC status codes

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
from pathlib import Path
from typing import Any


class MailroomError(Exception):
    """A failed call.

    Attributes:
        message: what is wrong and what to do, for people.
        code: the name of the gRPC status code, for example "INVALID_ARGUMENT".
        reason: a stable identifier for programs, for example "RECIPIENT_INVALID"; "" if the daemon gave none.
        field: the invalid field of the request, or None.
        retry_after_sec: the delay before the next attempt as requested by the daemon, or None.
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
    """The request is invalid; `field` names the invalid field. Retrying does not help."""

    default_code = "INVALID_ARGUMENT"


class NotFound(MailroomError):
    """The message does not exist."""

    default_code = "NOT_FOUND"


class AlreadyExists(MailroomError):
    """The idempotency key was already used for a different request (IDEMPOTENCY_KEY_REUSED)."""

    default_code = "ALREADY_EXISTS"


class ResourceExhausted(MailroomError):
    """A limit was reached: of storage (MAILBOX_FULL, STORAGE_FULL, TOO_MANY_WAITING), of messages between two agents
    (LOOP_GUARD), or of this client (RATE_LIMITED, TOO_MANY_STREAMS, TOO_MANY_BYTES).
    """

    default_code = "RESOURCE_EXHAUSTED"


class Unavailable(MailroomError):
    """The daemon could not serve the call, for example while a worker restarts. It was retried until the timeout."""

    default_code = "UNAVAILABLE"


_FORBIDDEN = ("operation not permitted", "permission denied")  # EPERM, EACCES


class DaemonNotRunning(Unavailable):
    """No daemon answers at the expected address, or this process may not connect to it."""

    def __init__(
        self, address: str = "", *, cause: str = "", tried: Sequence[str] = (), running_pid: int | None = None
    ) -> None:
        super().__init__(_why_unreachable(address, cause, tried, running_pid), reason="DAEMON_NOT_RUNNING")
        self.address = address
        self.tried = tuple(tried)


def _why_unreachable(address: str, cause: str, tried: Sequence[str], running_pid: int | None) -> str:
    detail = f" ({cause})" if cause else ""
    places = f" Tried: {'; '.join(tried)}." if tried else ""
    if any(word in text.lower() for word in _FORBIDDEN for text in (cause, *tried)):
        return (
            f"This process may not connect to the Mailroom daemon at {address}{detail}.{places} A sandbox, or the"
            " permissions of the socket, forbid it. An agent in a sandbox uses the tools of the MCP server mailroom."
        )
    if running_pid is not None:
        return _lost_socket(address, running_pid, detail)
    return (
        f"The Mailroom daemon is not running: no answer at {address}{detail}.{places}"
        " Start it with `mailroomd`, or with `systemctl --user start mailroomd` if it is installed as a service."
    )


def _lost_socket(address: str, pid: int, detail: str) -> str:
    if address.startswith("unix:") and not Path(address.removeprefix("unix:")).exists():
        return (
            f"mailroomd (pid {pid}) is running, but its socket is gone: {address.removeprefix('unix:')} was removed."
            " Try again in a few seconds; if that does not help, restart mailroomd."
        )
    return (
        f"mailroomd (pid {pid}) is running, but does not answer at {address}{detail}."
        " It may be starting or stopping: try again in a few seconds."
    )


class TlsFailed(MailroomError):
    """The TLS handshake failed. Retrying does not help."""

    default_code = "UNAVAILABLE"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="TLS_FAILED")


class DeadlineExceeded(MailroomError):
    """No response came within the timeout. The call may have succeeded; repeat it with the same idempotency key."""

    default_code = "DEADLINE_EXCEEDED"


class PermissionDenied(MailroomError):
    """This client's token does not permit the call: NOT_YOURS, ADMIN_ONLY."""

    default_code = "PERMISSION_DENIED"


class Unauthenticated(MailroomError):
    """The daemon requires a valid token: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED."""

    default_code = "UNAUTHENTICATED"


class Cancelled(MailroomError):
    """The daemon ended the call. Subscriptions resume automatically."""

    default_code = "CANCELLED"


class ClientClosed(MailroomError):
    """The program has closed this client."""

    default_code = "CANCELLED"

    def __init__(self, message: str = "This client is closed. Open a new one.") -> None:
        super().__init__(message, reason="CLIENT_CLOSED")


_CODES = (  # indexed by number; source: https://grpc.io/docs/guides/status-codes
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
    """Returns the error for a gRPC status code's name; a code without its own class gives a plain MailroomError."""
    cls = _CLASS_OF.get(code, MailroomError)
    return cls(message, code=code, reason=reason, field=field, retry_after_sec=retry_after_sec)
