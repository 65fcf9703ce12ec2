"""A cell's record is whole at any instant: written in turn, raced, and with its writer killed."""

import multiprocessing
import os
import pickle
import signal
import time
from multiprocessing import connection

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mailroomd.memory.double_cell import DoubleCell, TornCell
from mailroomd.memory.shared_memory import SharedMemory
from support.harness.cell_children import PAYLOAD_BYTES, number_of, read_until, stamped, write_until_killed

SPAWN = multiprocessing.get_context("spawn")
RACE_SEC = 0.5
WRITES_BEFORE_DEATH = 1000


def new_cell(payload_bytes: int = PAYLOAD_BYTES, offset: int = 0) -> tuple[DoubleCell, memoryview]:
    buffer = memoryview(bytearray(offset + DoubleCell.size_bytes(payload_bytes)))
    return DoubleCell(buffer, offset, payload_bytes), buffer


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_the_last_record_is_read_by_this_object_and_by_a_new_one(payloads: list[bytes]) -> None:
    cell, buffer = new_cell(40, offset=8)
    for payload in payloads:
        cell.write(payload)
        assert cell.read() == payload
    assert DoubleCell(buffer, 8, 40).read() == (payloads[-1] if payloads else b"")


@given(
    before=st.lists(st.binary(min_size=1, max_size=16), max_size=5),
    last=st.binary(min_size=1, max_size=16),
    stored_bytes=st.integers(0, 32),
    head_is_cleared=st.booleans(),
)
# 1 ^ 7 == 2 ^ 4: the change of the first byte is that of the sequence.
@example(before=[b"\0", b"\1", b"\0"], last=b"\7\0", stored_bytes=17, head_is_cleared=False)
def test_a_writer_that_dies_during_a_write_leaves_the_old_or_the_new_record(
    before: list[bytes], last: bytes, stored_bytes: int, head_is_cleared: bool
) -> None:
    """Replays the write into the old memory up to some byte: the payload, then the head, as `write` stores them."""
    cell, buffer = new_cell(16)
    for payload in before:
        cell.write(payload)
    old = bytes(buffer)
    cell.write(last)
    new = bytes(buffer)
    half = len(new) // 2
    start = half if old[half:] != new[half:] else 0
    order = [*range(start + 16, start + half), *range(start, start + 16)]
    torn = bytearray(old)
    for offset in order[:stored_bytes]:
        torn[offset] = new[offset]
    if head_is_cleared:
        torn[start : start + 16] = bytes(16)
    successor = DoubleCell(memoryview(torn), 0, 16)
    assert successor.read() in (before[-1] if before else b"", last)
    successor.write(b"successor")
    assert successor.read() == b"successor"
    assert DoubleCell(memoryview(torn), 0, 16).read() == b"successor"


@given(st.integers(0, 2 * (16 + 16) - 1), st.integers(1, 255))
def test_a_damaged_byte_never_yields_a_record_that_was_not_written(offset: int, change: int) -> None:
    cell, buffer = new_cell(16)
    cell.write(b"first record")
    cell.write(b"second")
    buffer[offset] ^= change
    try:
        assert cell.read() in (b"", b"first record", b"second")
    except TornCell:
        pytest.fail("one copy was whole")


def test_a_cell_with_two_damaged_copies_is_reported_in_bounded_time() -> None:
    cell, buffer = new_cell(16)
    cell.write(b"first")
    cell.write(b"second")
    buffer[16] ^= 1
    buffer[16 + 32] ^= 1
    with pytest.raises(TornCell):
        cell.read()
    with pytest.raises(TornCell):
        DoubleCell(buffer, 0, 16).write(b"third")


def test_a_cell_must_be_aligned_and_large_enough() -> None:
    buffer = memoryview(bytearray(DoubleCell.size_bytes(10)))
    assert DoubleCell.size_bytes(10) == 2 * (16 + 16)
    with pytest.raises(ValueError, match="multiple of 8"):
        DoubleCell(buffer, 4, 1)
    with pytest.raises(ValueError, match="does not fit"):
        DoubleCell(buffer, 8, 10)
    with pytest.raises(ValueError, match="do not fit into a cell of 10"):
        DoubleCell(buffer, 0, 10).write(b"x" * 11)


def test_readers_racing_killed_writers_see_whole_records_in_order() -> None:
    memory = SharedMemory.create("test-cell", DoubleCell.size_bytes(PAYLOAD_BYTES))
    cell = DoubleCell(memory.buffer, 0, PAYLOAD_BYTES)
    reads, report_reads = multiprocessing.Pipe(duplex=False)
    started, report_started = multiprocessing.Pipe(duplex=False)
    deadline = time.monotonic() + RACE_SEC + 0.5  # about as long as three children take to start
    readers = [SPAWN.Process(target=read_until, args=(memory, deadline, report_reads)) for _ in range(2)]
    for reader in readers:
        reader.start()
    rounds = 0
    while time.monotonic() < deadline or rounds < 3:
        writer = SPAWN.Process(target=write_until_killed, args=(memory, report_started))
        writer.start()
        connection.wait([started, writer.sentinel], 30)
        assert started.poll(), "the writer never started"
        continued_from = started.recv()
        while number_of(cell.read() or stamped(0)) < continued_from + WRITES_BEFORE_DEATH:
            pass
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        assert number_of(DoubleCell(memory.buffer, 0, PAYLOAD_BYTES).read()) >= continued_from + WRITES_BEFORE_DEATH
        writer.close()
        rounds += 1
    for reader in readers:
        reader.join(30)
        assert reader.exitcode == 0
        reader.close()
        assert reads.recv() > 0
    for end in (reads, report_reads, started, report_started):
        end.close()
    memory.close()


def test_shared_memory_cannot_be_resized_and_is_passed_only_by_spawning() -> None:
    memory = SharedMemory.create("test-sealed", 4096)
    path = f"/proc/self/fd/{memory._descriptor}"  # pyright: ignore[reportPrivateUsage] - the seals are on the file
    with pytest.raises(PermissionError):
        os.truncate(path, 0)
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(memory)
    memory.close()
    memory.close()
