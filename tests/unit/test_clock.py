"""The wall clock of the daemon stays within what an id and a date can hold."""

import time
from datetime import UTC, datetime

import pytest
from mailroomd.model.clock import LATEST_MS, is_out_of_range, now_ms
from mailroomd.model.ids import MAX_ID, MS_SHIFT, IdSequence
from mailroomd.storage.database.backup_rows import MAX_RESTORED_ID

YEAR_MS = 365 * 24 * 3600 * 1000


@pytest.mark.parametrize("years", [1, 75, 140, 300, 9000])
def test_ids_and_dates_hold_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch, years: int) -> None:
    true_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: true_ns + years * YEAR_MS * 1_000_000)
    assert is_out_of_range() == (now_ms() == LATEST_MS) == (years >= 75)
    assert datetime.fromtimestamp(now_ms() / 1000, UTC).year <= 2100
    ids = IdSequence()
    first = ids.issue(now_ms())
    for _ in range(1000):
        ids.issue(now_ms(), 16_384)
    assert first < ids.last < MAX_RESTORED_ID < MAX_ID, "a backup of it can be restored"
    monkeypatch.undo()
    assert ids.issue(now_ms()) > first, "the order holds when the clock is right again"
    assert ids.last >> MS_SHIFT <= LATEST_MS + 2000


def test_a_clock_before_1970_counts_as_1970(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: -5_000_000)
    assert now_ms() == 0
    assert is_out_of_range()
