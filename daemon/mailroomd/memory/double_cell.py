"""DoubleCell — a small record in shared memory that stays whole even if its writer dies in the middle of a write.

Owns two copies that are written in turn: `sequence u64 | crc32 u32 | length u32 | payload`, native byte order, 8-byte
aligned. The checksum covers sequence, length and payload. Sequence 0 means never written. Odd sequences are in the
second copy, even ones in the first, so the successor of a dead writer overwrites the torn copy and never the whole one.
There is no lock and no wait. A cell has one writing process at a time and any number of readers. Above: the control
page, mailbox slots; below: a buffer.
Invariant: `read` returns what one `write` was given, and never anything older than an earlier `read` returned.
"""

__all__ = ["DoubleCell", "TornCell"]

import struct
import zlib

from mailroomd.memory.fence import fence

_HEAD = struct.Struct("@QII")
_CHECKED_HEAD = struct.Struct("@QI")
# A read fails only if two writes overtake it, and each write takes about as long as the read. That does not happen this
# many times in a row (about 3 ms): then the cell has two writers, or its memory was overwritten.
_READ_ATTEMPTS = 1000


class TornCell(Exception):  # noqa: N818 - names what was read
    """Neither copy was whole in any attempt: the memory is damaged, or the cell has two writers."""


def _checksum(sequence: int, payload: bytes) -> int:
    """Returns the CRC-32 of sequence, length and payload in turn.

    The sequence is not its starting value: that is XORed into the first bytes of the payload, where a change of one can
    cancel a change of the other, and half a head would pass for a whole one.
    """
    return zlib.crc32(payload, zlib.crc32(_CHECKED_HEAD.pack(sequence, len(payload))))


class DoubleCell:
    """Two copies of one record of up to `payload_bytes`, at `offset` (a multiple of 8) in `buffer`."""

    __slots__ = ("_buffer", "_copies", "_offset", "_payload_bytes", "_sequence")

    def __init__(self, buffer: memoryview, offset: int, payload_bytes: int) -> None:
        if offset % 8:
            raise ValueError(f"a cell starts at a multiple of 8, not at {offset}")
        if not 0 <= offset <= len(buffer) - self.size_bytes(payload_bytes):
            raise ValueError(f"a cell of {payload_bytes} bytes at {offset} does not fit into {len(buffer)} bytes")
        self._buffer = buffer
        self._offset = offset
        self._payload_bytes = payload_bytes
        self._copies = (offset, offset + self.size_bytes(payload_bytes) // 2)
        self._sequence = -1  # unknown: only a writer needs it

    @staticmethod
    def size_bytes(payload_bytes: int) -> int:
        """Returns how many bytes of the buffer a cell occupies, a multiple of 8."""
        return 2 * (_HEAD.size + (payload_bytes + 7) // 8 * 8)

    def write(self, payload: bytes) -> None:
        """Replaces the record; a reader sees either the old one or the new one.

        Raises:
            ValueError: the payload is longer than the cell.
            TornCell: neither copy of the predecessor's is whole.
        """
        length = len(payload)
        if length > self._payload_bytes:
            raise ValueError(f"{length} bytes do not fit into a cell of {self._payload_bytes}")
        sequence = (self._sequence if self._sequence >= 0 else self._newest_sequence()) + 1
        start = self._copies[sequence & 1]
        body = start + _HEAD.size
        self._buffer[body : body + length] = payload
        # Not pack_into: it zeroes the target first, and a reader would see a sequence of 0.
        head = _HEAD.pack(sequence, _checksum(sequence, payload), length)
        self._buffer[start:body] = head
        self._sequence = sequence
        fence()  # whatever the writer stores next becomes visible after this record

    def read(self) -> bytes:
        """Returns the newest whole record, b"" if none was ever written.

        Raises:
            TornCell: neither copy was whole in many attempts.
        """
        for _ in range(_READ_ATTEMPTS):
            newest = self._newest_whole()
            if newest is not None:
                return newest[1]
        raise TornCell(f"no whole copy in the cell at {self._offset} ({self._payload_bytes} bytes a copy)")

    def _newest_sequence(self) -> int:
        """Returns the sequence that the predecessor wrote last; it may have died during the write after it."""
        newest = self._newest_whole()
        if newest is None:
            raise TornCell(f"no whole copy to continue from in the cell at {self._offset}")
        return newest[0]

    def _newest_whole(self) -> tuple[int, bytes] | None:
        """Returns sequence and payload of the newest whole copy, None if this attempt met none."""
        first, second = self._copies
        heads = (_HEAD.unpack_from(self._buffer, first), _HEAD.unpack_from(self._buffer, second))
        newer = heads[1][0] > heads[0][0]
        for copy in (newer, not newer):
            sequence, crc, length = heads[copy]
            if sequence == 0 and heads[not copy][0] <= 1:  # never written, or the first write is under way
                return 0, b""
            if sequence == 0 or length > self._payload_bytes or sequence & 1 != copy:
                continue
            body = self._copies[copy] + _HEAD.size
            payload = self._buffer[body : body + length].tobytes()
            if _checksum(sequence, payload) == crc:
                return sequence, payload
        return None
