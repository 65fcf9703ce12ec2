"""*queue_children — what the processes of the packet queue's tests run*; spawned children import it by this name."""

import os
import resource
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import msgspec
from mailroomd.ipc.queue import Full, PacketQueue

# bytes of content: most packets inline and full of items, now and then one beside its packet in a memfd.
SMALL_BYTES, LARGE_BYTES = 300, 200_000
LARGE_EVERY = 97


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


def flood(queue: Items, first: int, batch: int) -> None:
    """Puts numbered notes until it is killed, `batch` at a time, waiting in `put` when the queue is full."""
    number = first
    while True:
        sent = queue.put_many_nowait([numbered(number + offset) for offset in range(batch)])
        if not sent:
            queue.put(numbered(number))
        number += sent or 1


def fill_then_block(queue: Items, ready: "Connection[Any, Any]") -> None:
    """Fills the queue, tells how many notes fitted, and waits in `put` with one more."""
    number = 0
    try:
        while True:
            queue.put_nowait(numbered(number))
            number += 1
    except Full:
        ready.send(number)
    queue.put(numbered(number))


def put_range(queue: Items, first: int, count: int) -> None:
    for number in range(first, first + count):
        queue.put(numbered(number), timeout=20)


def tell_inheritable(queue: Items, result: "Connection[Any, Any]") -> None:
    result.send([os.get_inheritable(end) for end in (queue.reader_fileno(), queue.writer_fileno())])


def wait_in_get(queue: Items, ready: "Connection[Any, Any]") -> None:
    ready.send("waiting")
    queue.get()


def echo(source: Items, echoes: Items, count: int) -> None:
    for _ in range(count):
        echoes.put(source.get(timeout=20), timeout=20)


def drain_for_ever(queue: Items, ready: "Connection[Any, Any]") -> None:
    ready.send("draining")
    while True:
        queue.get()


def run_into_descriptors_in_flight(queue: Items, result: "Connection[Any, Any]") -> None:
    """As a user without privileges: sends more descriptors than may be in flight, then again after draining."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with suppress(OSError):  # the kernel counts by user: be one that nobody else is, where that is allowed
        os.setuid(100_000 + os.getpid())
    sent = queue.put_many_nowait([note(number, LARGE_BYTES) for number in range(100)])
    try:
        queue.put(note(100, LARGE_BYTES), timeout=0.03)
        refused = False
    except Full:
        refused = True
    drained = len(queue.get_many_nowait(1000))
    queue.put(note(101, LARGE_BYTES), timeout=20)
    result.send((sent, refused, drained))
