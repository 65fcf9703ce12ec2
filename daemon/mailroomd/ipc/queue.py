"""PacketQueue — a queue between two processes that survives the death of either.

Owns one `SOCK_SEQPACKET` socket pair and the format of its packets: a prefix byte, then a msgpack list of items. Every
holder has both ends, so there is never an end of file. One process at a time reads and one writes, one thread each, and
nothing ever blocks. The queue is neither a log nor an acknowledgement: items that a reader has received die with it,
and the handshake above settles that (`Link`). It does not know what items mean, and has no thread, lock or feeder
buffer.
Above: `Link`; below: the kernel. Invariant: a packet is whole or absent, whenever a process at either end is killed.
"""

import errno
import fcntl
import functools
import os
import socket
from array import array
from collections.abc import Sequence
from multiprocessing.context import assert_spawning
from multiprocessing.reduction import DupFd
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

__all__ = ["MAX_PACKET_BYTES", "PacketQueue", "TornPacket"]

T = TypeVar("T", bound=msgspec.Struct)

# bytes, prefix included. A third of the default send buffer (212,992): a few fit, and none is refused for its size.
MAX_PACKET_BYTES: Final = 64 * 1024
# items. Up to here a list is encoded in one call (8 items of 300 B: 0.6 µs; one by one 2.4 µs). A longer list may well
# fill more than one packet; encoding it item by item stops when the packet is full, so that nothing is encoded twice.
_ENCODE_WHOLE_ITEMS: Final = 64
SEND_BYTES: Final = 512 * 1024
"""How many bytes one call of `send_items` sends, and the packet that exceeds them: some milliseconds of work. A reader
that keeps up would otherwise keep the writer sending until nothing is left."""

_INLINE: Final = b"\x00"
_IN_MEMFD: Final = b"\x01"
_ARRAY16: Final = b"\xdc"  # msgpack: a list, its length in the next two bytes, big-endian
_HEAD_BYTES: Final = 4  # _INLINE, _ARRAY16 and the length
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_FULL: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})
# MSG_DONTWAIT although both ends are non-blocking: any holder of a duplicate could clear O_NONBLOCK for all of them.
# int(), because arithmetic with the socket module's IntFlags costs 1 µs a packet.
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_RECEIVE_FLAGS: Final = _DONTWAIT | int(socket.MSG_CMSG_CLOEXEC)
_CUT_OFF: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_ANCILLARY_BYTES: Final = socket.CMSG_LEN(array("i").itemsize)  # one descriptor


class TornPacket(Exception):  # noqa: N818 - names what was received
    """A packet that no PacketQueue of these item types sent whole; it was taken off the queue and is lost."""


class PacketQueue(Generic[T]):
    """A multiprocessing queue without locks; pass it to a child as an argument of a `spawn`ed process.

    `item_types` are frozen, array-like `msgspec.Struct` classes with different tags. After `close` every other method
    raises ValueError.
    """

    def __init__(self, name: str, item_types: tuple[type[T], ...]) -> None:
        self._open(name, item_types, *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))

    def _open(self, name: str, item_types: tuple[type[T], ...], reader: socket.socket, writer: socket.socket) -> None:
        self.name = name
        self._item_types, self._closed = item_types, False
        self._reader, self._writer = reader, writer
        for end in (reader, writer):
            end.settimeout(0)
            end.set_inheritable(False)
        self._held_back: list[T] = []  # items received before a torn packet, for the next call
        self._unsent: tuple[Sequence[T], bytearray] | None = None  # items that found no room, and their packet
        self._has_large_items = False  # those sent last: encoding them as a whole was in vain
        self._encode_into = msgspec.msgpack.Encoder().encode_into
        union = functools.reduce(lambda one, other: one | other, cast("tuple[Any, ...]", item_types))
        self._decode = msgspec.msgpack.Decoder(cast("type[list[T]]", GenericAlias(list, (union,)))).decode

    def __getstate__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return self.name, self._item_types, DupFd(self.reader_fileno()), DupFd(self.writer_fileno())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        name, item_types, *passed = state
        reader, writer = (socket.socket(fileno=descriptor.detach()) for descriptor in passed)
        self._open(name, item_types, reader, writer)

    def send_items(self, items: Sequence[T]) -> int:
        """Sends leading `items` while there is room, up to SEND_BYTES; returns how many, 0 if the queue is full.

        Raises:
            OSError: no descriptor or memory for the first item (only items above MAX_PACKET_BYTES need one); nothing
                was sent. If a later item fails, the number of items before it is returned and the next call raises.
        """
        self._require_open()
        sent = sent_bytes = 0
        try:
            while sent < len(items) and sent_bytes < SEND_BYTES:
                packet, count = self._pack_once(items, sent)
                if not self._send_packet(packet):
                    self._unsent = items[sent : sent + count], packet
                    break
                sent, sent_bytes = sent + count, sent_bytes + len(packet)
        except OSError:
            if not sent:
                raise
        return sent

    def receive_items(self, max_packets: int = 64) -> list[T]:
        """Returns the items of up to `max_packets` packets that have arrived, [] if there are none.

        Raises:
            TornPacket: something else arrived; the next call returns the items before and after it.
        """
        self._require_open()
        items, self._held_back = self._held_back, []
        try:
            for _ in range(max_packets):
                if (more := self._receive_packet()) is None:
                    break
                items += more
        except BaseException:
            self._held_back = items
            raise
        return items

    def reader_fileno(self) -> int:
        """Returns the descriptor that is readable while a packet waits."""
        self._require_open()
        return self._reader.fileno()

    def writer_fileno(self) -> int:
        """Returns the descriptor that is writable while three quarters of the buffer are free (the kernel's rule)."""
        self._require_open()
        return self._writer.fileno()

    def close(self) -> None:
        """Closes both ends in this process; may be called repeatedly. Waiting packets stay for the other holders."""
        self._closed = True
        self._held_back = []
        self._reader.close()
        self._writer.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"PacketQueue {self.name!r} is closed")

    def _pack_once(self, items: Sequence[T], start: int) -> tuple[bytearray, int]:
        """Returns what `_pack` does; a packet that found no room is not encoded again."""
        unsent, self._unsent = self._unsent, None
        if unsent is not None and items[start : start + len(unsent[0])] == unsent[0]:  # quick: the same objects
            return unsent[1], len(unsent[0])
        return self._pack(items, start)

    def _pack(self, items: Sequence[T], start: int) -> tuple[bytearray, int]:
        """Returns the next packet and how many items it holds; only a single item makes it exceed MAX_PACKET_BYTES."""
        waiting = len(items) - start
        if waiting == 1 or (waiting <= _ENCODE_WHOLE_ITEMS and not self._has_large_items):
            packet = bytearray(_INLINE)
            self._encode_into(items[start:] if start else items, packet, -1)
            if len(packet) <= MAX_PACKET_BYTES or waiting == 1:
                return packet, waiting
            self._has_large_items = True
        packet = bytearray(_HEAD_BYTES)
        for count in range(waiting):
            end = len(packet)
            self._encode_into(items[start + count], packet, -1)
            if len(packet) > MAX_PACKET_BYTES and count:
                del packet[end:]
                waiting = count
                break
        else:
            self._has_large_items = False
        packet[:_HEAD_BYTES] = _INLINE + _ARRAY16 + waiting.to_bytes(2, "big")
        return packet, waiting

    def _send_packet(self, packet: bytearray) -> bool:
        """Passes a packet to the kernel; returns False if there is no room for it."""
        try:
            if len(packet) <= MAX_PACKET_BYTES:
                self._writer.send(packet, _DONTWAIT)
            else:
                self._send_memfd(packet)
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        return True

    def _send_memfd(self, packet: bytearray) -> None:
        descriptor: int = os.memfd_create(f"packet-{self.name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(descriptor, "wb") as memory:
            memory.write(memoryview(packet)[len(_INLINE) :])
            memory.flush()
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]))
            self._writer.sendmsg([_IN_MEMFD], [rights], _DONTWAIT)

    def _receive_packet(self) -> list[T] | None:
        """Returns the items of the next packet, None if none has arrived."""
        # Into new memory: recvmsg_into a reused buffer measures the same (3.1 µs for 8 items of 300 B, decoded), and
        # this way items with memoryview or Raw fields may keep referring to the packet.
        try:
            data, rights, flags, _ = self._reader.recvmsg(MAX_PACKET_BYTES, _ANCILLARY_BYTES, _RECEIVE_FLAGS)
        except BlockingIOError:
            return None
        descriptors = [fd for _, kind, ints in rights if kind == socket.SCM_RIGHTS for fd in array("i", ints)]
        try:
            if flags & _CUT_OFF:
                raise ValueError("longer than a packet, or no free descriptor in this process for its memfd")
            if data[:1] == _INLINE and not descriptors:
                return self._decode(memoryview(data)[1:])
            if data == _IN_MEMFD and len(descriptors) == 1:
                return self._decode(_read_sealed(descriptors[0]))
            raise ValueError(f"prefix {data[:1]!r} with {len(descriptors)} descriptors")
        except (ValueError, OSError) as error:  # the decoding errors of msgspec and Unicode are ValueErrors
            raise TornPacket(f"queue {self.name}: {len(data)} bytes that are not a packet of it: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _read_sealed(descriptor: int) -> bytes:
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError("its memfd is not sealed")
    with open(descriptor, "rb", buffering=0, closefd=False) as memory:
        memory.seek(0)
        return memory.read()
