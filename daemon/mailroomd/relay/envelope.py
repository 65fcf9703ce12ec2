"""Envelope — a batch as it travels: items with their positions, packed, compressed and sealed for one host.

Owns the format. The first byte is its version; the rest only the two hosts can read. Each message stands in it as bytes
of its own, so that one that cannot be read does not spoil the batch. Not here: keys (`sealing`), the hub.
"""

__all__ = [
    "Envelope",
    "ForeignVersion",
    "MessageItem",
    "ReceiptItem",
    "ReportBody",
    "Unreadable",
    "open_envelope",
    "open_report",
    "seal_envelope",
    "seal_report",
]

import zlib
from typing import Any

import msgspec

from mailroomd.relay.sealing import SealBroken, Sealer

VERSION = 1
COMPRESS_FROM_BYTES = 1024
MAX_UNPACKED_BYTES = 8 << 20  # a batch has at most one item beyond 512 KiB
_PLAIN, _COMPRESSED = b"\x00", b"\x01"


class MessageItem(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A message.

    Attributes:
        run, id: its position.
        draft: packed; its recipient is without a host.
        expires_ms: when its time to live ends by its sender's clock, 0 for never.
        answers_yours: the id, at the receiving host, of the message that it answers, or 0.
        answers_mine: the same at the sending host.
    """

    run: int
    id: int
    draft: bytes
    expires_ms: int = 0
    answers_yours: int = 0
    answers_mine: int = 0


class ReceiptItem(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A step of a message of the receiving host, whose position there is `message_run`, `message_id`."""

    run: int
    id: int
    message_run: int
    message_id: int
    state: int
    timestamp_ms: int
    reason: str = ""


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A batch.

    Attributes:
        sender, recipient: the hosts.
        after_run, after_id: the position of the item before the first one.
        sent_ms: when it was sealed, by the sender's clock.
    """

    sender: str
    recipient: str
    after_run: int
    after_id: int
    items: list[MessageItem | ReceiptItem]
    sent_ms: int = 0


class ReportBody(msgspec.Struct, frozen=True, array_like=True):
    """What a host has stored of another: an answer, or by itself; with `runs` alone, the question.

    Attributes:
        sender, recipient: the hosts.
        stored: the highest id stored, by run.
        misses, is_idle: as in `core.forwarding.outgoing.Report`.
        runs: those that the recipient is to report on.
    """

    sender: str
    recipient: str
    stored: dict[int, int] = {}
    misses: bool = False
    is_idle: bool = False
    runs: list[int] = []


class Unreadable(Exception):  # noqa: N818 - a condition, not a defect
    """What arrived is not what the host sealed for this one."""


class ForeignVersion(Unreadable):
    """It is of a version that this daemon does not know."""


_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_decode_report = msgspec.msgpack.Decoder(ReportBody).decode


def seal_envelope(envelope: Envelope, sealer: Sealer) -> bytes:
    """Returns an envelope as it travels.

    Raises:
        KeyMissing: the recipient's key is not known, or has changed.
    """
    return _seal(envelope, envelope.recipient, sealer)


def seal_report(report: ReportBody, sealer: Sealer) -> bytes:
    """Returns a report as it travels.

    Raises:
        KeyMissing: the recipient's key is not known, or has changed.
    """
    return _seal(report, report.recipient, sealer)


def open_envelope(data: bytes, sender: str, recipient: str, sealer: Sealer) -> Envelope:
    """Returns the envelope that a host has sealed for this one.

    Raises:
        KeyMissing: the sender's key is not known, or has changed.
        Unreadable: it was not sealed by that host, or does not hold an envelope.
    """
    return _open(data, sender, recipient, sealer, _decode_envelope)


def open_report(data: bytes, sender: str, recipient: str, sealer: Sealer) -> ReportBody:
    """Returns the report that a host has sealed for this one; raises as `open_envelope`."""
    return _open(data, sender, recipient, sealer, _decode_report)


def _seal(body: Envelope | ReportBody, recipient: str, sealer: Sealer) -> bytes:
    packed = msgspec.msgpack.encode(body)
    is_large = len(packed) >= COMPRESS_FROM_BYTES
    packed = _COMPRESSED + zlib.compress(packed, 1) if is_large else _PLAIN + packed
    return bytes([VERSION]) + sealer.seal(recipient, packed)


def _open(data: bytes, sender: str, recipient: str, sealer: Sealer, decode: Any) -> Any:
    if data[:1] != bytes([VERSION]):
        raise ForeignVersion(f"version {data[0] if data else 'none'}, and this daemon knows {VERSION}")
    try:
        packed = sealer.open(sender, data[1:])
        content = packed[1:] if packed[:1] == _PLAIN else _decompress(packed[1:])
        body = decode(content)
    except (SealBroken, zlib.error, msgspec.MsgspecError) as error:
        raise Unreadable(str(error)) from error
    if (body.sender, body.recipient) != (sender, recipient):
        raise Unreadable(f"it is from {body.sender} for {body.recipient}")
    return body


def _decompress(data: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    content = decompressor.decompress(data, MAX_UNPACKED_BYTES)
    if decompressor.unconsumed_tail:
        raise zlib.error("the batch is too large")
    return content
