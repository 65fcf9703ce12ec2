"""What arrives from NATS, as values: batches, records, and what the hub says of a pull.

Owns where subjects, acknowledgements and headers hold what is needed. Not here: the connection (`hub`), what is in a
batch (`envelope`).
"""

__all__ = ["Delivery", "StoredRecord", "delivery_of", "record_of", "status_of"]

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from nats.aio.msg import Msg


class Delivery(NamedTuple):
    """A batch from the hub.

    Attributes:
        sender: the host in its subject, which the hub has admitted.
        data: the batch.
        reply: the subject of its acknowledgement.
        deliveries: how often it was delivered, this time included.
        pending: how many batches wait behind it.
        stored_ms: when the hub stored it, by the hub's clock.
    """

    sender: str
    data: bytes
    reply: str
    deliveries: int
    pending: int
    stored_ms: int


class StoredRecord(NamedTuple):
    """A record of a host, and when the hub stored it, by the hub's clock; 0 if the hub did not say."""

    data: bytes
    stored_ms: int


def status_of(message: Msg) -> int:
    """Returns what the hub says of a pull; 0 for a batch."""
    status = (message.headers or {}).get("Status")
    return int(status) if status and not message.data else 0


def delivery_of(message: Msg) -> Delivery:
    """Returns a batch."""
    tokens = message.reply.split(".")  # $JS.ACK.[domain.account.]stream.consumer.delivered.stream seq.seq.time.pending
    start = 4 if len(tokens) == 9 else 6
    sender = message.subject.rsplit(".", 1)[-1]
    return Delivery(
        sender,
        message.data,
        message.reply,
        int(tokens[start]),
        int(tokens[start + 4]),
        int(tokens[start + 3]) // 1_000_000,
    )


def record_of(message: Msg) -> StoredRecord | None:
    """Returns a record; None if the hub answers that there is none."""
    headers = message.headers or {}
    return None if "Status" in headers else StoredRecord(message.data, _milliseconds_of(headers))


def _milliseconds_of(headers: Mapping[str, str]) -> int:
    """Returns the hub's time in the headers of a record; 0 if there is none."""
    seconds, _, fraction = headers.get("Nats-Time-Stamp", "").removesuffix("Z").partition(".")
    try:
        return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1000 + int(f"{fraction}000"[:3])
    except ValueError:
        return 0
