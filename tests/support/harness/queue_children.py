"""queue_children — the processes of the packet queue's tests; spawned children import them by this name.

A PacketQueue never blocks, so `send_all` and `receive_one` wait for it, up to a bound.
"""

import os
import resource
import select
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import msgspec
from mailroomd.ipc.queue import PacketQueue

# bytes of content: most packets inline and full of items, now and then one beside its packet in a memfd.
SMALL_BYTES, LARGE_BYTES = 300, 200_000
LARGE_EVERY = 97
WITHIN_SEC = 20.0
RETRY_MS = 2  # POLLOUT is late (it wants three quarters of the buffer free), so waiting for it alone would stall


class Note(msgspec.Struct, frozen=True, array_like=True, tag="note"):
    """An item whose content follows from its number and length."""

    number: int
    body: bytes


class Halt(msgspec.Struct, frozen=True, array_like=True, tag="halt"):
    """A second kind of item."""

    reason: str


Items = PacketQueue[Note | Halt]


def new_queue(name: str = "tested") -> Items:
    return PacketQueue(name, (Note, Halt))


def note(number: int, size: int) -> Note:
    pattern = number.to_bytes(8, "big")
    return Note(number, (pattern * (size // len(pattern) + 1))[:size])


def numbered(number: int) -> Note:
    return note(number, LARGE_BYTES if number % LARGE_EVERY == LARGE_EVERY - 1 else SMALL_BYTES + number % 50)


def send_all(queue: Items, *items: Note | Halt) -> None:
    """Sends items, waiting for room; fails if there is none in time."""
    deadline = time.monotonic() + WITHIN_SEC
    sent = 0
    while (sent := sent + queue.send_items(items[sent:])) < len(items):
        assert time.monotonic() < deadline, "no room in time"
        wait_for_room(queue, RETRY_MS)


def receive_some(queue: Items) -> list[Note | Halt]:
    """Returns the items of the next packet, waiting for it; fails if there is none in time."""
    deadline = time.monotonic() + WITHIN_SEC
    while not (items := queue.receive_items(max_packets=1)):
        assert time.monotonic() < deadline, "no packet in time"
        wait_for_packet(queue, RETRY_MS)
    return items


def wait_for_room(queue: Items, timeout_ms: int | None = None) -> None:
    _wait(queue.writer_fileno(), select.POLLOUT, timeout_ms)


def wait_for_packet(queue: Items, timeout_ms: int | None = None) -> None:
    _wait(queue.reader_fileno(), select.POLLIN, timeout_ms)


def _wait(fileno: int, event: int, timeout_ms: int | None) -> None:
    poller = select.poll()
    poller.register(fileno, event)
    poller.poll(timeout_ms)


def flood(queue: Items, first: int, batch: int) -> None:
    """Sends numbered notes until it is killed, `batch` at a time, waiting for room when the queue is full."""
    number = first
    while True:
        sent = queue.send_items([numbered(number + offset) for offset in range(batch)])
        if not sent:
            wait_for_room(queue, RETRY_MS)
        number += sent


def fill_then_block(queue: Items, ready: "Connection[Any, Any]") -> None:
    """Fills the queue, reports how many notes fitted, and waits for room for one more."""
    number = 0
    while queue.send_items([numbered(number)]):
        number += 1
    ready.send(number)
    wait_for_room(queue)
    send_all(queue, numbered(number))


def send_range(queue: Items, first: int, count: int) -> None:
    for number in range(first, first + count):
        send_all(queue, numbered(number))


def report_inheritable(queue: Items, result: "Connection[Any, Any]") -> None:
    result.send([os.get_inheritable(end) for end in (queue.reader_fileno(), queue.writer_fileno())])


def wait_then_receive(queue: Items, ready: "Connection[Any, Any]") -> None:
    ready.send("waiting")
    wait_for_packet(queue)
    queue.receive_items()


def echo(source: Items, echoes: Items, count: int) -> None:
    echoed = 0
    while echoed < count:
        items = receive_some(source)
        send_all(echoes, *items)
        echoed += len(items)


def drain_forever(queue: Items, ready: "Connection[Any, Any]") -> None:
    ready.send("draining")
    while True:
        wait_for_packet(queue)
        queue.receive_items(max_packets=1)


def run_into_descriptors_in_flight(queue: Items, result: "Connection[Any, Any]") -> None:
    """As a user without privileges: sends more descriptors than may be in flight, then again after draining."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with suppress(OSError):  # the kernel counts by user: be one that nobody else is, where that is allowed
        os.setuid(100_000 + os.getpid())
    sent = 0
    while sent < 100 and queue.send_items([note(sent, LARGE_BYTES)]):
        sent += 1
    is_full = queue.send_items([note(100, LARGE_BYTES)]) == 0
    drained = len(queue.receive_items(1000))
    send_all(queue, note(101, LARGE_BYTES))
    result.send((sent, is_full, drained))
