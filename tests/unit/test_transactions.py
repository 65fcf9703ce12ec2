"""A transaction is whole or absent, and nothing is written behind a log that is in doubt."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database import connection
from mailroomd.storage.database.connection import (
    has_lost_write,
    is_full,
    is_lost_write,
    mark_lost_write,
    open_archive,
)
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from support.faults.failing import error
from support.harness.storing import StoreHarness, answers, counted, draft, fill_up, make_room, recounted

FILED = DeliveryState.FILED


def test_a_full_disk_rolls_everything_back_and_sends_work_again_later(harness: StoreHarness) -> None:
    small = harness.message(draft())
    harness.commit(small)
    fill_up(harness)
    large = harness.message(draft(content="x" * 100_000), "k", client_key=True)
    with pytest.raises(StoreFull):
        harness.commit(harness.message(draft("other")), large)
    assert recounted(harness) == {"abc": (1, 1, small.id)}
    assert harness.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]
    assert harness.store.mark("last_id") == small.last_id
    make_room(harness)
    again = harness.message(draft(content="x" * 100_000), "k", client_key=True)
    outcomes = harness.commit(again)
    assert answers(outcomes) == [harness.sent(again)]
    assert counted(outcomes) == {"abc": (2, 2, small.id)}


def test_a_write_to_a_locked_database_fails_but_is_not_fatal(harness: StoreHarness) -> None:
    other = sqlite3.connect(harness.state_dir / "mailroom.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    harness.rows("PRAGMA busy_timeout = 1")
    with pytest.raises(StoreFailed) as failed:
        harness.commit(harness.message(draft()))
    assert not failed.value.fatal
    other.execute("ROLLBACK")
    other.close()
    assert counted(harness.commit(harness.message(draft())))["abc"][:2] == (1, 1)


def test_only_a_failed_fsync_is_a_lost_write_and_only_a_full_disk_is_full(tmp_path: Path) -> None:
    assert is_lost_write(error(sqlite3.SQLITE_IOERR_FSYNC))
    assert is_lost_write(error(sqlite3.SQLITE_IOERR_DIR_FSYNC))
    assert is_full(error(sqlite3.SQLITE_FULL), tmp_path)
    for code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY):
        assert not is_lost_write(error(code))
        assert not is_full(error(code), tmp_path)
    assert not is_full(sqlite3.ProgrammingError("no code"), tmp_path)


def test_a_write_error_is_full_where_a_quota_leaves_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_quota(*_: Any) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr("os.posix_fallocate", no_quota)
    assert is_full(error(sqlite3.SQLITE_IOERR_WRITE), tmp_path)
    assert not is_full(error(sqlite3.SQLITE_IOERR_READ), tmp_path)


def test_a_log_that_a_crash_left_is_settled_at_the_start(harness: StoreHarness) -> None:
    harness.commit(harness.message(draft()))
    log = harness.state_dir / "mailroom.db-wal"
    assert log.stat().st_size > 0
    keeper = open_archive(harness.state_dir)  # so that closing the writer folds nothing in by itself
    harness.reopen()
    assert log.stat().st_size == 0
    assert counted(harness.commit(harness.message(draft())))["abc"][0] == 2
    keeper.close()


def test_a_log_left_by_a_full_disk_is_settled_before_the_next_commit(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def settle(connection: sqlite3.Connection) -> None:
        if full:
            raise error(sqlite3.SQLITE_FULL)

    first = harness.message(draft())
    harness.commit(first)
    harness.store.close()
    monkeypatch.setattr("mailroomd.storage.database.transactions.settle_log", settle)
    harness.store = MessageStore(harness.state_dir)
    assert harness.store.files.message(first.id) is not None
    with pytest.raises(StoreFull):
        harness.commit(harness.message(draft()))
    full = False
    assert counted(harness.commit(harness.message(draft())))["abc"][0] == 2


def test_a_state_dir_with_hostile_characters_in_its_name_is_opened(tmp_path: Path) -> None:
    place = tmp_path / "a?b#c%20d é"
    place.mkdir()
    harness = StoreHarness(place)
    harness.commit(harness.message(draft()))
    with closing(MessageArchive(place)) as archive:
        assert archive.last_id() == harness.last_id
    assert (place / "mailroom.db").exists()
    harness.store.close()


def test_closing_while_somebody_reads_is_no_error(harness: StoreHarness) -> None:
    harness.commit(harness.message(draft()))
    reader = sqlite3.connect(harness.state_dir / "mailroom.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM messages").fetchall()
    harness.commit(harness.message(draft()))
    harness.rows("PRAGMA busy_timeout = 1")
    harness.store.close()
    reader.close()
    harness.store = MessageStore(harness.state_dir)


def test_a_reader_is_waited_for_only_after_a_failed_fsync(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SETTLE_TIMEOUT_MS", 20)
    harness.commit(harness.message(draft()))
    reader = MessageArchive(harness.state_dir)
    reader._connection.execute("BEGIN")  # pyright: ignore[reportPrivateUsage]
    assert reader.last_id() == harness.last_id
    harness.commit(harness.message(draft()))
    harness.reopen()
    harness.commit(harness.message(draft()))
    mark_lost_write(harness.state_dir)
    harness.reopen()
    with pytest.raises(StoreFailed, match="another process reads"):
        harness.commit(harness.message(draft()))
    assert len(harness.rows("SELECT * FROM messages")) == 3  # what is there can be read meanwhile
    reader.close()
    harness.commit(harness.message(draft()))
    assert len(harness.rows("SELECT * FROM messages")) == 4
    assert not has_lost_write(harness.state_dir)
