"""Processes that race for one DoubleCell: a writer that is killed, and readers that check everything they read."""

import struct
import time
from multiprocessing.connection import Connection

from mailroomd.memory.double_cell import DoubleCell
from mailroomd.memory.shared_memory import SharedMemory

PAYLOAD_BYTES = 256
NUMBER = struct.Struct("<Q")


def stamped(number: int) -> bytes:
    """Returns a payload that shows whether it is whole: its number, repeated, in a length that depends on it."""
    return NUMBER.pack(number) * (1 + number % (PAYLOAD_BYTES // NUMBER.size))


def number_of(payload: bytes) -> int:
    number = NUMBER.unpack_from(payload)[0]
    assert payload == stamped(number)
    return number


def write_until_killed(memory: SharedMemory, started: Connection) -> None:
    cell = DoubleCell(memory.buffer, 0, PAYLOAD_BYTES)
    last = cell.read()
    number = number_of(last) if last else 0
    started.send(number)
    while True:
        number += 1
        cell.write(stamped(number))


def read_until(memory: SharedMemory, deadline: float, report: Connection) -> None:
    """Reports how many records it read; asserts that each is whole and none older than the one before."""
    cell = DoubleCell(memory.buffer, 0, PAYLOAD_BYTES)
    newest = reads = 0
    while time.monotonic() < deadline or not reads:
        payload = cell.read()
        number = number_of(payload) if payload else 0
        assert number >= newest, (number, newest)
        newest = number
        reads += 1
    report.send(reads)
