"""wire — the network between the machines of a bed: a program that carries Ethernet frames, as badly as it is told to.

Each machine is a network namespace with one interface, `eth0`, whose other end is here (a TAP device; it goes when this
process ends). Every frame has a line, from one machine to another, with settings of its own that may change at any
moment: this stands in for the kernel's own tool for the purpose (netem), which many kernels of virtual machines lack.
Started by `Network`. Standard input takes one object of JSON in each line, {"from": name, "to": name, settings of
`Line`}, or {} for a look at the counts; each is answered by the counts.
Not here: the namespaces (`network`). Invariant: without further settings, every frame arrives once and in order.
"""

__all__ = ["Line", "Wire", "enter_namespace"]

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

FRAME_BYTES = 65536
FRAMES_AT_ONCE = 64  # of one machine, before another has its turn
BEHIND_SEC = 0.003  # by how much a frame that is to arrive late is held back
MAC_PREFIX = bytes((2, 0, 0, 0, 0))  # the last byte is the number of the machine
# linux/if_tun.h, linux/sched.h
_TUNSETIFF, _TAP, _NO_PACKET_INFO = 0x400454CA, 0x0002, 0x1000
_NEW_NETWORK = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Line:
    """The way from one machine to another.

    Attributes:
        is_down: nothing arrives.
        delay_sec, jitter_sec: how long a frame takes, and by how much that varies, both ways.
        loss, duplicates, reordering: the share of the frames that are lost, arrive twice, or behind the next ones.
    """

    is_down: bool = False
    delay_sec: float = 0.0
    jitter_sec: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0
    last_due: float = 0.0

    def dues(self, now: float, counts: Counter[str]) -> list[float]:
        """Returns when a frame arrives: never, once, or twice."""
        if self.is_down or random.random() < self.loss:
            counts["refused" if self.is_down else "lost"] += 1
            return []
        due = max(now + self.delay_sec + random.uniform(-self.jitter_sec, self.jitter_sec), self.last_due, now)
        if random.random() < self.reordering:
            counts["reordered"] += 1
            return [due + BEHIND_SEC]
        self.last_due = due
        counts["delayed"] += due > now
        if random.random() < self.duplicates:
            counts["doubled"] += 1
            return [due, due]
        return [due]


class Wire:
    """Carries frames between machines until its standard input ends.

    Args:
        machines: the namespace of each, by name; a machine's number is its place, from 1.
    """

    def __init__(self, machines: Mapping[str, str]) -> None:
        self._names = list(machines)
        self._taps = [_open_tap(namespace) for namespace in machines.values()]
        self._lines = {(a, b): Line() for a in self._names for b in self._names if a != b}
        self._late: list[tuple[float, int, int, bytes]] = []  # due, count, to, frame
        self._count = 0
        self._counts: Counter[str] = Counter()
        self._poll = select.epoll()
        for tap in (*self._taps, sys.stdin.fileno()):
            self._poll.register(tap, select.EPOLLIN)

    def run(self) -> None:
        """Works until standard input ends."""
        number_of = {tap: number for number, tap in enumerate(self._taps)}
        while True:
            timeout_sec = max(0.0, self._late[0][0] - time.monotonic()) if self._late else -1
            for ready, _ in self._poll.poll(timeout_sec):
                if ready in number_of:
                    self._take_frames(number_of[ready])
                elif not self._obey():
                    return
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(self._late)
                self._deliver(to, frame)

    def _take_frames(self, number: int) -> None:
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = os.read(self._taps[number], FRAME_BYTES)
            except BlockingIOError:
                return
            to = frame[5] - 1
            if frame[:5] == MAC_PREFIX and to < len(self._taps):
                self._carry(number, to, frame)
            else:  # to everybody, as a machine that looks for another does
                for other in range(len(self._taps)):
                    if other != number:
                        self._carry(number, other, frame)

    def _carry(self, number: int, to: int, frame: bytes) -> None:
        now = time.monotonic()
        for due in self._lines[self._names[number], self._names[to]].dues(now, self._counts):
            if due > now:
                self._count += 1
                heapq.heappush(self._late, (due, self._count, to, frame))
            else:
                self._deliver(to, frame)

    def _deliver(self, to: int, frame: bytes) -> None:
        with suppress(OSError):  # a machine that takes no more loses it, as machines do
            os.write(self._taps[to], frame)
            self._counts["carried"] += 1

    def _obey(self) -> bool:
        """Takes one command; returns whether there are more."""
        line = sys.stdin.readline()
        if not line:
            return False
        command: dict[str, Any] = json.loads(line)
        if command:
            ends = command.pop("from"), command.pop("to")
            self._lines[ends] = Line(**command)
        print(json.dumps(self._counts), flush=True)
        return True


def enter_namespace(name: str) -> None:
    """Moves the calling thread into a network namespace; sockets that it makes from now on are there.

    Raises:
        OSError: there is no such namespace, or it may not be entered.
    """
    handle = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if _libc.setns(handle, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")
    finally:
        os.close(handle)


def _open_tap(namespace: str) -> int:
    enter_namespace(namespace)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _TAP | _NO_PACKET_INFO))
    return handle


if __name__ == "__main__":
    wire = Wire(json.loads(sys.argv[1]))
    print("ready", flush=True)
    wire.run()
