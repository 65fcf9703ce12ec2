"""Processes that race for one small mailbox table: a writer that is killed, and readers that check all they read."""

import random
import struct
import time
import zlib
from itertools import pairwise
from multiprocessing.connection import Connection

from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.states import DeliveryState
from mailroomd.table.layout import Header, TableLayout
from mailroomd.table.reader import NotInTable, Record, TableReader
from mailroomd.table.writer import TableFull, TableWriter

LAYOUT = TableLayout.for_ring(256 << 10, 16)  # so few slots that passers-by are given those of others
NAMES = [f"agent-{number}" for number in range(5)]
PASSER_BY = "passer-by-"
SEEN_MS = 7
MOST_BYTES = 6000
PAGE = 40
NOISE = random.Random(1).randbytes(3 * MOST_BYTES)
BODY = struct.Struct("<IIQQ?")
"""checksum of the rest, writer's epoch, number among the mailbox's, number among all, whether it will be struck out."""


def body_of(epoch: int, own: int, overall: int, struck: bool, noise: bytes) -> bytes:
    checked = BODY.pack(0, epoch, own, overall, struck)[4:] + noise
    return zlib.crc32(checked).to_bytes(4, "little") + checked


def write_until_killed(memory: SharedMemory, epoch: int, seed: int, started: Connection) -> None:
    """Fills the table from its mark on, over and over; some records never become durable, some are struck out."""
    chance = random.Random(seed)
    writer = TableWriter(memory.buffer, LAYOUT)
    last = writer.reader.durable_id
    writer.begin_rebuild(last)
    writer.finish_rebuild(last)
    started.send(epoch)
    own = dict.fromkeys(NAMES, 0)
    overall = 0
    while True:
        pending: list[tuple[int, str, int, bool]] = []
        for _ in range(chance.randrange(1, 30)):
            name, struck = chance.choice(NAMES), chance.random() < 0.1
            start = chance.randrange(MOST_BYTES)
            noise = NOISE[start : start + int(MOST_BYTES * chance.random() ** 3)]
            body = body_of(epoch, own[name], overall, struck, noise)
            try:
                position = writer.append(last + 1, last, writer.entry(name), body, DeliveryState.FILED)
            except TableFull:
                break
            last += 1
            pending.append((last, name, position, struck))
            if not struck:
                own[name] += 1
                overall += 1
        for number, name, position, struck in pending:
            entry = writer.entry(name)
            if struck:
                writer.set_state(position, DeliveryState.VOIDED)
                continue
            entry.newest_position = position
            entry.total += 1
            entry.unread += 1
            if entry.unread > 20 or not entry.oldest_unread_id:  # its reader has read everything but this one
                entry.unread, entry.oldest_unread_id = 1, number
            entry.publish()
        writer.advance_high_water_mark(last)
        passer_by = writer.entry(f"{PASSER_BY}{chance.randrange(1000)}")
        passer_by.last_seen_ms = SEEN_MS
        passer_by.publish()
        writer.forget_idle(kept=3)


class Reader:
    """Reads and checks; counts what it saw."""

    def __init__(self, memory: SharedMemory) -> None:
        self.table = TableReader(memory.buffer, LAYOUT)
        self.words = memory.buffer.cast("Q")
        self.records = self.answers = self.refusals = 0

    def check(self, found: list[Record]) -> list[tuple[int, int, int]]:
        """Returns (epoch, number in its mailbox, number among all) of whole records."""
        mark = self.words[Header.DURABLE_ID]
        self.answers += 1
        self.records += len(found)
        marks: list[tuple[int, int, int]] = []
        for record in found:
            checksum, epoch, own, overall, struck = BODY.unpack_from(record.body)
            assert checksum == zlib.crc32(record.body[4:]), "a torn record"
            assert not struck, "a record that was struck out"
            assert record.id <= mark, "a record above the mark"
            assert record.mailbox in NAMES
            assert record.timestamp_ms == record.id - 1
            marks.append((epoch, own, overall))
        return marks


def follow(memory: SharedMemory, name: str, deadline: float, found: Connection) -> None:
    """Follows one mailbox, or all where the name is empty, as a subscription does: no gap, no repeat, rising ids."""
    reader = Reader(memory)
    cursor = position = 0
    seen: tuple[int, int] | None = None
    while time.monotonic() < deadline:
        try:
            if name:
                page = reader.table.after(name, cursor, PAGE)
                assert all(record.mailbox == name for record in page)
            else:
                page, position = reader.table.after_all(cursor, PAGE, position)
        except NotInTable:  # it would ask the database now, and go on behind what has left the table
            reader.refusals += 1
            cursor, seen = reader.table.evicted_through, None
            continue
        for record, (epoch, own, overall) in zip(page, reader.check(page), strict=True):
            assert record.id > cursor, "an id that does not rise"
            number = own if name else overall
            if seen is not None:
                expected = seen[1] + 1 if epoch == seen[0] else 0
                assert number == expected, f"a gap: {(epoch, number)} after {seen}"
            seen, cursor = (epoch, number), record.id
    found.send((reader.records, reader.answers, reader.refusals))


def look_around(memory: SharedMemory, seed: int, deadline: float, found: Connection) -> None:
    """Asks for single messages, newest and unread ones and counts, at random."""
    reader, chance = Reader(memory), random.Random(seed)
    while time.monotonic() < deadline:
        name = chance.choice(NAMES)
        low, mark = reader.table.evicted_through, reader.table.durable_id
        try:
            number = chance.randint(min(low, mark), mark)
            one = reader.table.find(number)
            assert one.id == number
            reader.check([one])
        except NotInTable:
            reader.refusals += 1
        try:
            newest = reader.table.newest(name, 5)
            reader.check(newest)
            assert all(one.id > other.id for one, other in pairwise(newest))
            unread = reader.table.unread(name, 5)
            reader.check(unread)
            assert all(one.id < other.id for one, other in pairwise(unread))
            for listed, counts in reader.table.all_counts():
                if listed.startswith(PASSER_BY):
                    assert counts.total == 0, "another mailbox's counts"
                else:
                    assert listed in NAMES
                    assert counts.last_seen_ms == 0, "a passer-by's counts"
                assert 0 <= counts.unread <= counts.total
            counts = reader.table.counts(name)
            assert counts is None or counts.last_seen_ms == 0, "a passer-by's counts"
        except NotInTable:
            reader.refusals += 1
    found.send((reader.records, reader.answers, reader.refusals))
