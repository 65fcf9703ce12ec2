"""States — the closed vocabularies of the mail room, as lower-case strings.

Each has an UNKNOWN where a daemon newer than this client may know more.
"""

__all__ = ["DeliveryState", "Health", "Priority"]

from enum import StrEnum


class DeliveryState(StrEnum):
    """How far a message has come."""

    STORED = "stored"  # durable; its inbox file is not there yet and is being retried
    FILED = "filed"  # its inbox file is there too
    OFFERED = "offered"  # handed to the recipient once
    READ = "read"  # acknowledged by the recipient
    EXPIRED = "expired"  # its time to live ran out unread
    UNKNOWN = "unknown"


class Priority(StrEnum):
    """How urgent a message is to its sender."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """Whether a send would work now (the standard gRPC health service)."""

    SERVING = "serving"
    NOT_SERVING = "not_serving"
    UNKNOWN = "unknown"
