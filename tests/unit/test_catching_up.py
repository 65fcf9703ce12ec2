"""MailReader waits for the high-water mark where senders were told of more: what was answered can be read.

They run on uvloop, as the gateway does: its timers count milliseconds, so a shorter pause may be no pause at all.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from mailroomd.gateway import mail_reader
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.table.answered_mark import AnsweredMark
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader
from mailroomd.table.writer import TableWriter


class Marks:
    """A table with both marks, and its reader."""

    def __init__(self, directory: Path) -> None:
        layout = TableLayout.for_ring(1 << 20, 64)
        self.memory = SharedMemory.create("table", layout.size_bytes)
        self.writer = TableWriter(self.memory.buffer, layout)
        self.answered = AnsweredMark(self.memory.buffer)
        self.reader = MailReader(TableReader(self.memory.buffer, layout), directory)


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Marks]:
    made = Marks(tmp_path)
    yield made
    made.reader.close()
    made.memory.close()


def test_a_reader_waits_until_what_was_answered_is_visible(marks: Marks) -> None:
    async def read() -> int:
        asyncio.get_running_loop().call_later(0.05, marks.writer.advance_high_water_mark, 20)
        await marks.reader.catch_up()
        return marks.reader.high_water_mark

    marks.writer.advance_high_water_mark(10)
    marks.answered.advance(20)
    assert marks.reader.newest_id == 20, "a cursor that a sender may have"
    assert uvloop.run(read()) == 20


def test_a_reader_does_not_wait_for_a_mailbox_that_stays_away(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_reader, "CATCH_UP_SEC", 0.05)
    marks.answered.advance(20)
    started_sec = time.monotonic()
    uvloop.run(marks.reader.catch_up())
    assert time.monotonic() - started_sec >= 0.05
    assert marks.reader.high_water_mark == 0


def test_the_mark_never_goes_back(marks: Marks) -> None:
    marks.answered.advance(20)
    marks.answered.advance(10)
    assert marks.reader.newest_id == 20
