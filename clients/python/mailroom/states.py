"""States — the SDK's enums, as lower-case strings.

UNKNOWN stands for a value that a newer daemon sent and this client does not know.
"""

__all__ = ["DeliveryState", "Health", "Priority"]

from enum import StrEnum


class DeliveryState(StrEnum):
    """The delivery state of a message."""

    STORED = "stored"  # durable; writing the inbox file is pending
    FILED = "filed"  # the inbox file has been written too
    OFFERED = "offered"  # delivered to the recipient at least once
    READ = "read"  # acknowledged by the recipient
    EXPIRED = "expired"  # its lifetime ended while it was unread
    OVERDUE = "overdue"  # of receipts only: its reply_by passed without an answer
    RETURNED = "returned"  # the host that it was for did not take it
    QUEUED = "queued"  # waits here to leave for the host that it is for
    FORWARDED = "forwarded"  # on its way to that host, which has not confirmed it
    UNKNOWN = "unknown"


class Priority(StrEnum):
    """The priority that the sender gave a message."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """Whether the daemon accepts messages now (the standard gRPC health service)."""

    SERVING = "serving"
    NOT_SERVING = "not_serving"
    UNKNOWN = "unknown"
