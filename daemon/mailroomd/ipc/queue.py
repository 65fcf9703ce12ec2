"""*PacketQueue — a queue that outlives the processes at its ends*.

It owns one `SOCK_SEQPACKET` socket pair and the form of the packets on it: a prefix byte, then a msgpack list of items.
Every holder has both ends, so there is never an end of file; one process at a time reads, one writes, one thread each.
It is no log and no acknowledgement: what a reader has taken dies with it, and the epochs of the layers above settle
that. It knows nothing of the items' meaning, and holds no thread, lock or feeder buffer. Above: the workers' loops;
below: the kernel. Invariant: a packet is whole or absent, whenever a process at either end is killed.
"""

import errno
import fcntl
import functools
import math
import os
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Sequence
from multiprocessing.context import assert_spawning
from multiprocessing.reduction import DupFd
from queue import Empty, Full
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

__all__ = ["MAX_PACKET_BYTES", "Empty", "Full", "PacketQueue", "TornPacket"]

T = TypeVar("T", bound=msgspec.Struct)

# bytes, prefix included. A third of the stock send buffer (212,992): a few fit, and none is refused for its size.
MAX_PACKET_BYTES: Final = 64 * 1024
# items. Up to here a list is encoded in one call (8 items of 300 B: 0.6 µs; item by item 2.4 µs). A longer one may well
# fill more than one packet, and encoding it item by item stops where the packet is full, so nothing is done twice.
_ENCODE_WHOLE_ITEMS: Final = 64
# seconds between two tries when the kernel refuses for another reason than a full buffer, which poll cannot see.
_REFUSED_PAUSE_SEC: Final = 0.005
# seconds in one poll, whatever the time-out: poll takes at most 2**31 milliseconds.
_LONGEST_POLL_SEC: Final = 3600.0

_INLINE: Final = b"\x00"
_IN_MEMFD: Final = b"\x01"
_ARRAY16: Final = b"\xdc"  # msgpack: a list, its length in the next two bytes, big-endian
_HEAD_BYTES: Final = 4  # _INLINE, _ARRAY16 and the length
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_REFUSED: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})
# MSG_DONTWAIT although both ends are non-blocking: any holder of a dup could clear O_NONBLOCK for all of them.
# int(), because arithmetic with the socket module's IntFlags costs 1 µs a packet.
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_RECEIVE_FLAGS: Final = _DONTWAIT | int(socket.MSG_CMSG_CLOEXEC)
_CUT_OFF: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_ANCILLARY_BYTES: Final = socket.CMSG_LEN(array("i").itemsize)  # one descriptor


class TornPacket(Exception):  # noqa: N818 - named for what was found, like Full and Empty
    """A packet that no PacketQueue of these item types sent whole; it has been taken off the queue and is gone."""


class PacketQueue(Generic[T]):
    """A multiprocessing queue without locks; a child gets it as an argument of its (`spawn`ed) process.

    `item_types` are frozen, array-like `msgspec.Struct` classes with different tags. After `close` every other method
    raises ValueError.
    """

    def __init__(self, name: str, item_types: tuple[type[T], ...]) -> None:
        self._open(name, item_types, *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))

    def _open(self, name: str, item_types: tuple[type[T], ...], reader: socket.socket, writer: socket.socket) -> None:
        self.name = name
        self._item_types, self._closed = item_types, False
        self._reader, self._writer = reader, writer
        self._readable, self._writable = select.poll(), select.poll()
        for end, poller, event in ((reader, self._readable, select.POLLIN), (writer, self._writable, select.POLLOUT)):
            end.settimeout(0)
            end.set_inheritable(False)
            poller.register(end, event)
        self._taken: deque[T] = deque()  # the rest of a packet of which `get` gave the first items
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

    def put(self, item: T, timeout: float | None = None) -> None:
        """Sends `item`; waits for room up to `timeout` seconds, or without limit.

        Raises:
            Full: no room within `timeout`.
            OSError: no descriptor or memory for an item above MAX_PACKET_BYTES; nothing was sent.
        """
        self._require_open()
        packet, _ = self._pack((item,), 0)
        deadline = _deadline(timeout)
        while refused := self._send(packet):
            poller, at_most = self._writable, _LONGEST_POLL_SEC
            if refused != errno.EAGAIN:
                poller, at_most = select.poll(), _REFUSED_PAUSE_SEC
            if not _wait(poller, deadline, at_most):
                raise Full

    def put_nowait(self, item: T) -> None:
        """Sends `item` now; raises as `put` does."""
        self.put(item, 0)

    def put_many_nowait(self, items: Sequence[T]) -> int:
        """Sends `items` from the first on while there is room; returns how many, 0 when the queue is full.

        Raises:
            OSError: no descriptor or memory for the first item; nothing was sent. (For a later one, the number of those
                before it is returned, and the next call raises.)
        """
        self._require_open()
        sent = 0
        try:
            while sent < len(items):
                packet, count = self._pack(items, sent)
                if self._send(packet):
                    break
                sent += count
        except OSError:
            if not sent:
                raise
        return sent

    def get(self, timeout: float | None = None) -> T:
        """Takes one item; waits for it up to `timeout` seconds, or without limit.

        Raises:
            Empty: no item within `timeout`.
            TornPacket: something else came; the next call goes on behind it.
        """
        self._require_open()
        deadline = _deadline(timeout)
        while not self._taken:
            items = self._receive()
            if items is not None:
                self._taken.extend(items)
            elif not _wait(self._readable, deadline, _LONGEST_POLL_SEC):
                raise Empty
        return self._taken.popleft()

    def get_nowait(self) -> T:
        """Takes one item; raises as `get` does. The rest of its packet is kept here, where no selector sees it."""
        return self.get(0)

    def get_many_nowait(self, max_packets: int = 64) -> list[T]:
        """Takes the items of up to `max_packets` packets that wait now; [] when there are none.

        Raises:
            TornPacket: something else came; the next call gives the items before it and those behind it.
        """
        self._require_open()
        items = list(self._taken)
        self._taken.clear()
        try:
            for _ in range(max_packets):
                if (more := self._receive()) is None:
                    break
                items += more
        except BaseException:
            self._taken.extend(items)
            raise
        return items

    def reader_fileno(self) -> int:
        """Readable while a packet waits; meant for `get_many_nowait`."""
        self._require_open()
        return self._reader.fileno()

    def writer_fileno(self) -> int:
        """Writable while three quarters of the buffer are free (so says the kernel); meant for `put_many_nowait`."""
        self._require_open()
        return self._writer.fileno()

    def close(self) -> None:
        """Closes the two ends of this process; may be repeated. What waits stays for the other holders."""
        self._closed = True
        self._taken.clear()
        self._reader.close()
        self._writer.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"PacketQueue {self.name!r} is closed")

    def _pack(self, items: Sequence[T], start: int) -> tuple[bytearray, int]:
        """The next packet and how many items are in it; only a single item makes it longer than MAX_PACKET_BYTES."""
        waiting = len(items) - start
        if waiting <= _ENCODE_WHOLE_ITEMS:
            packet = bytearray(_INLINE)
            self._encode_into(items[start:] if start else items, packet, -1)
            if len(packet) <= MAX_PACKET_BYTES or waiting == 1:
                return packet, waiting
        packet = bytearray(_HEAD_BYTES)
        for count in range(waiting):
            end = len(packet)
            self._encode_into(items[start + count], packet, -1)
            if len(packet) > MAX_PACKET_BYTES and count:
                del packet[end:]
                waiting = count
                break
        packet[:_HEAD_BYTES] = _INLINE + _ARRAY16 + waiting.to_bytes(2, "big")
        return packet, waiting

    def _send(self, packet: bytearray) -> int:
        """Hands `packet` to the kernel: 0, or the errno with which the kernel says that there is no room."""
        try:
            if len(packet) <= MAX_PACKET_BYTES:
                self._writer.send(packet, _DONTWAIT)
            else:
                self._send_memfd(packet)
        except OSError as error:
            if error.errno in _REFUSED:
                return error.errno
            raise
        return 0

    def _send_memfd(self, packet: bytearray) -> None:
        descriptor: int = os.memfd_create(f"packet-{self.name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(descriptor, "wb") as memory:
            memory.write(memoryview(packet)[len(_INLINE) :])
            memory.flush()
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]))
            self._writer.sendmsg([_IN_MEMFD], [rights], _DONTWAIT)

    def _receive(self) -> list[T] | None:
        """The items of the next packet, None when none waits."""
        # Into new memory: recvmsg_into a kept buffer measures the same (3.1 µs for 8 items of 300 B, decoded), and
        # here items with memoryview or Raw fields may go on pointing into what they came from.
        try:
            data, rights, flags, _ = self._reader.recvmsg(MAX_PACKET_BYTES, _ANCILLARY_BYTES, _RECEIVE_FLAGS)
        except BlockingIOError:
            return None
        descriptors = [fd for _, kind, ints in rights if kind == socket.SCM_RIGHTS for fd in array("i", ints)]
        try:
            if flags & _CUT_OFF:
                raise ValueError("longer than a packet, or no free descriptor in this process for what came with it")
            if data[:1] == _INLINE and not descriptors:
                return self._decode(memoryview(data)[1:])
            if data == _IN_MEMFD and len(descriptors) == 1:
                return self._decode(_read_sealed(descriptors[0]))
            raise ValueError(f"prefix {data[:1]!r} with {len(descriptors)} descriptors")
        except (ValueError, OSError) as error:  # msgspec's and Unicode's decoding errors are ValueErrors
            raise TornPacket(f"queue {self.name}: {len(data)} bytes that are no packet of it: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _read_sealed(descriptor: int) -> bytes:
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError("the memory beside it is not sealed")
    with open(descriptor, "rb", buffering=0, closefd=False) as memory:
        memory.seek(0)
        return memory.read()


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def _wait(poller: select.poll, deadline: float, at_most_sec: float) -> bool:
    """Waits until `poller` reports something, or time is up; False if it was up before."""
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    poller.poll(min(left, at_most_sec) * 1000)
    return True
