"""DoubleCell — a small record in shared memory that is whole whenever its writer dies.

Owns the form of two copies, written in turn: `sequence u64 | crc32 u32 | length u32 | payload`, native byte order,
8-byte aligned. Sequence 0 means never written; an odd one is in the second copy, an even one in the first, so a new
writer goes on where a dead one stopped: it overwrites the copy that was torn, never the whole one. It has no lock and
no wait. One writing process at a time, any number of readers. Above: control page, mailbox headers; below: a buffer.
Invariant: `read` returns what one `write` was given, and never something older than an earlier `read` returned.
"""

__all__ = ["DoubleCell", "TornCell"]

import struct
import zlib

from mailroomd.memory.fence import fence

_HEAD = struct.Struct("@QII")
_SEQUENCE_MASK = 0xFFFF_FFFF
# A reader loses an attempt only to two writes that overtake it, each of which takes about as long as the attempt. So
# many losses in a row (some 3 ms) do not happen; two writers or overwritten memory do that.
_READ_ATTEMPTS = 1000


class TornCell(Exception):  # noqa: N818 - named for what was found
    """Neither copy was whole in any attempt: the memory is damaged, or has two writers."""


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
        self._sequence = -1  # not known: only a writer asks for it

    @staticmethod
    def size_bytes(payload_bytes: int) -> int:
        """Returns the room that a cell takes in the buffer, a multiple of 8."""
        return 2 * (_HEAD.size + (payload_bytes + 7) // 8 * 8)

    def write(self, payload: bytes) -> None:
        """Replaces the record; a reader sees the old one or the new one.

        Raises:
            ValueError: the payload is longer than the cell.
        """
        length = len(payload)
        if length > self._payload_bytes:
            raise ValueError(f"{length} bytes do not fit into a cell of {self._payload_bytes}")
        sequence = (self._sequence if self._sequence >= 0 else self._newest_sequence()) + 1
        start = self._copies[sequence & 1]
        body = start + _HEAD.size
        self._buffer[body : body + length] = payload
        # Not pack_into: it fills the place with zeros first, and a reader would see a sequence of 0.
        head = _HEAD.pack(sequence, zlib.crc32(payload, sequence & _SEQUENCE_MASK), length)
        self._buffer[start:body] = head
        self._sequence = sequence
        fence()  # what the writer does next is not seen before this

    def read(self) -> bytes:
        """Returns the newest whole record, b"" if there never was one.

        Raises:
            TornCell: neither copy was whole in many attempts.
        """
        for _ in range(_READ_ATTEMPTS):
            found = self._newest_whole()
            if found is not None:
                return found[1]
        raise TornCell(f"no whole copy in the cell at {self._offset} ({self._payload_bytes} bytes a copy)")

    def _newest_sequence(self) -> int:
        """What the predecessor wrote last; it may have died in the middle of the write after it."""
        found = self._newest_whole()
        if found is None:
            raise TornCell(f"no whole copy in the cell at {self._offset} to go on from")
        return found[0]

    def _newest_whole(self) -> tuple[int, bytes] | None:
        first, second = self._copies
        heads = (_HEAD.unpack_from(self._buffer, first), _HEAD.unpack_from(self._buffer, second))
        newer = heads[1][0] > heads[0][0]
        for copy in (newer, not newer):
            sequence, crc, length = heads[copy]
            if sequence == 0 and heads[not copy][0] <= 1:  # nothing was written yet, or the first write is in motion
                return 0, b""
            if sequence == 0 or length > self._payload_bytes or sequence & 1 != copy:
                continue
            body = self._copies[copy] + _HEAD.size
            payload = self._buffer[body : body + length].tobytes()
            if zlib.crc32(payload, sequence & _SEQUENCE_MASK) == crc:
                return sequence, payload
        return None
