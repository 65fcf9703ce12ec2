"""Processes that race for a small mailbox table: a writer that is killed, and readers that check all that they read."""

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


def write_until_killed(memory: SharedMemory, epoch: int, seed: int, started: Connection) -> None:
    """Appends records above the high-water mark, over and over; some never become durable, some are voided."""
    chance = random.Random(seed)
    writer = TableWriter(memory.buffer, LAYOUT)
    last_id = writer.reader.durable_id
    writer.begin_rebuild(last_id)
    writer.finish_rebuild(last_id)
    started.send(epoch)
    own = dict.fromkeys(NAMES, 0)
    overall = 0
    while True:
        pending: list[tuple[int, str, int, bool]] = []
        for _ in range(chance.randrange(1, 30)):
            name, voided = chance.choice(NAMES), chance.random() < 0.1
            start = chance.randrange(MAX_BYTES)
            noise = NOISE[start : start + int(MAX_BYTES * chance.random() ** 3)]
            body = body_of(epoch, own[name], overall, voided, noise)
            try:
                position = writer.append(last_id + 1, last_id, writer.entry(name), body, DeliveryState.FILED)
            except TableFull:
                break
            last_id += 1
            pending.append((last_id, name, position, voided))
            if not voided:
                own[name] += 1
                overall += 1
        for message_id, name, position, voided in pending:
            entry = writer.entry(name)
            if voided:
                writer.set_state(position, DeliveryState.VOIDED)
                continue
            entry.newest_position = position
            entry.total += 1
            entry.unread += 1
            if entry.unread > 20 or not entry.oldest_unread_id:  # its reader has read everything except this one
                entry.unread, entry.oldest_unread_id = 1, message_id
            entry.publish()
        writer.advance_high_water_mark(last_id)
        visitor = writer.entry(f"{VISITOR}{chance.randrange(1000)}")
        visitor.last_seen_ms = SEEN_MS
        visitor.publish()
        writer.forget_idle(kept=3)


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
            record = reader.table.find(message_id)
            assert record.id == message_id
            reader.check([record])
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
