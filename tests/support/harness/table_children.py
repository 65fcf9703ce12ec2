"""Processes that race for a small mailbox table: a writer that is killed, and readers that check all that they read."""

import random
import struct
import time
import zlib
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import NamedTuple

from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.states import DeliveryState
from mailroomd.table.layout import Header, TableLayout
from mailroomd.table.reader import NotInTable, Record, TableReader
from mailroomd.table.writer import TableFull, TableWriter

LAYOUT = TableLayout.for_ring(256 << 10, 16)  # so few slots that visitors reuse those of others
NAMES = [f"agent-{number}" for number in range(5)]
VISITOR = "visitor-"
SEEN_MS = 7
MAX_BYTES = 6000
PAGE = 40
NOISE = random.Random(1).randbytes(3 * MAX_BYTES)
BODY = struct.Struct("<IIQQ?")
"""checksum of the rest, writer's epoch, index in its mailbox, index among all records, whether it will be voided."""


def body_of(epoch: int, own: int, overall: int, voided: bool, noise: bytes) -> bytes:
    checked = BODY.pack(0, epoch, own, overall, voided)[4:] + noise
    return zlib.crc32(checked).to_bytes(4, "little") + checked


class Appended(NamedTuple):
    """A record above the high-water mark."""

    id: int
    mailbox: str
    position: int
    is_voided: bool


class Writer:
    """Appends records whose content follows from their numbers, and makes them durable or voids them."""

    def __init__(self, memory: SharedMemory, epoch: int, seed: int) -> None:
        self.table = TableWriter(memory.buffer, LAYOUT)
        self.last_id = self.table.reader.durable_id
        self.table.begin_rebuild(self.last_id)
        self.table.finish_rebuild(self.last_id)
        self._epoch = epoch
        self._chance = random.Random(seed)
        self._own = dict.fromkeys(NAMES, 0)
        self._overall = 0

    def append_some(self) -> list[Appended]:
        """Appends records until there are some, or the table is full; no reader may show them yet."""
        appended: list[Appended] = []
        for _ in range(self._chance.randrange(1, 30)):
            name, voided = self._chance.choice(NAMES), self._chance.random() < 0.1
            start = self._chance.randrange(MAX_BYTES)
            noise = NOISE[start : start + int(MAX_BYTES * self._chance.random() ** 3)]
            body = body_of(self._epoch, self._own[name], self._overall, voided, noise)
            try:
                entry = self.table.entry(name)
                position = self.table.append(self.last_id + 1, self.last_id, entry, body, DeliveryState.FILED)
            except TableFull:
                break
            self.last_id += 1
            appended.append(Appended(self.last_id, name, position, voided))
            if not voided:
                self._own[name] += 1
                self._overall += 1
        return appended

    def publish(self, appended: list[Appended]) -> None:
        """Counts or voids records, then raises the high-water mark above them."""
        for record in appended:
            if record.is_voided:
                self.table.set_state(record.position, DeliveryState.VOIDED)
                continue
            entry = self.table.entry(record.mailbox)
            entry.newest_position = record.position
            entry.total += 1
            entry.unread += 1
            if entry.unread > 20 or not entry.oldest_unread_id:  # its reader has read everything except this one
                entry.unread, entry.oldest_unread_id = 1, record.id
            entry.publish()
        self.table.advance_high_water_mark(self.last_id)

    def receive_visitor(self) -> None:
        """Gives a mailbox without mail a slot, and takes it from others."""
        visitor = self.table.entry(f"{VISITOR}{self._chance.randrange(1000)}")
        visitor.last_seen_ms = SEEN_MS
        visitor.publish()
        self.table.forget_idle(kept=3)


def write_until_killed(memory: SharedMemory, epoch: int, seed: int, started: Connection) -> None:
    """Appends records above the high-water mark, over and over; some never become durable, some are voided."""
    writer = Writer(memory, epoch, seed)
    started.send(epoch)
    while True:
        writer.publish(writer.append_some())
        writer.receive_visitor()


class Reader:
    """Reads and checks records, and counts its reads."""

    def __init__(self, memory: SharedMemory) -> None:
        self.table = TableReader(memory.buffer, LAYOUT)
        self.words = memory.buffer.cast("Q")
        self.records = self.answers = self.refusals = 0

    def check(self, records: list[Record]) -> list[tuple[int, int, int]]:
        """Returns (epoch, index in its mailbox, index among all) of whole records."""
        durable_id = self.words[Header.DURABLE_ID]
        self.answers += 1
        self.records += len(records)
        indexes: list[tuple[int, int, int]] = []
        for record in records:
            checksum, epoch, own, overall, voided = BODY.unpack_from(record.body)
            assert checksum == zlib.crc32(record.body[4:]), "a torn record"
            assert not voided, "a voided record"
            assert record.id <= durable_id, "a record above the high-water mark"
            assert record.mailbox in NAMES
            assert record.timestamp_ms == record.id - 1
            indexes.append((epoch, own, overall))
        return indexes


def follow(memory: SharedMemory, name: str, race_sec: float, report: Connection) -> None:
    """Follows one mailbox, or all if the name is empty, as a subscription does: no gap, no repeat, rising ids."""
    reader, deadline = Reader(memory), time.monotonic() + race_sec
    cursor = position = 0
    seen: tuple[int, int] | None = None
    while time.monotonic() < deadline:
        try:
            if name:
                page = reader.table.after(name, cursor, PAGE)
                assert all(record.mailbox == name for record in page)
            else:
                page, position = reader.table.after_all(cursor, PAGE, position)
        except NotInTable:  # a gateway would now read the database, and continue after what was evicted
            reader.refusals += 1
            cursor, seen = reader.table.evicted_through, None
            continue
        for record, (epoch, own, overall) in zip(page, reader.check(page), strict=True):
            assert record.id > cursor, "an id that does not rise"
            index = own if name else overall
            if seen is not None:
                expected = seen[1] + 1 if epoch == seen[0] else 0
                assert index == expected, f"a gap: {(epoch, index)} after {seen}"
            seen, cursor = (epoch, index), record.id
    report.send((reader.records, reader.answers, reader.refusals))


def read_at_random(memory: SharedMemory, seed: int, race_sec: float, report: Connection) -> None:
    """Reads single messages, newest and unread ones, and counts, at random."""
    reader, chance = Reader(memory), random.Random(seed)
    deadline = time.monotonic() + race_sec
    while time.monotonic() < deadline:
        name = chance.choice(NAMES)
        low, durable_id = reader.table.evicted_through, reader.table.durable_id
        try:
            message_id = chance.randint(min(low, durable_id), durable_id)
            states = reader.table.states_of([message_id])
            assert states.keys() <= {message_id}
            assert DeliveryState.VOIDED not in states.values()
            reader.check(reader.table.after_all(message_id - 1, 1)[0])
        except NotInTable:
            reader.refusals += 1
        try:
            newest = reader.table.newest(name, 5)
            reader.check(newest)
            assert all(newer.id > older.id for newer, older in pairwise(newest))
            unread = reader.table.unread(name, 5)
            reader.check(unread)
            assert all(older.id < newer.id for older, newer in pairwise(unread))
            for listed, counts in reader.table.all_counts():
                if listed.startswith(VISITOR):
                    assert counts.total == 0, "another mailbox's counts"
                else:
                    assert listed in NAMES
                    assert counts.last_seen_ms == 0, "a visitor's counts"
                assert 0 <= counts.unread <= counts.total
            counts = reader.table.counts(name)
            assert counts is None or counts.last_seen_ms == 0, "a visitor's counts"
        except NotInTable:
            reader.refusals += 1
    report.send((reader.records, reader.answers, reader.refusals))
