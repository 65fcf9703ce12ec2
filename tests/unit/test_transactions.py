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
from support.harness.storing import Desk, answers, counted, draft, fill_up, make_room, recounted

FILED = DeliveryState.FILED


def test_a_full_disk_rolls_everything_back_and_sends_work_again_later(desk: Desk) -> None:
    small = desk.message(draft())
    desk.commit(small)
    fill_up(desk)
    large = desk.message(draft(content="x" * 100_000), "k", client_key=True)
    with pytest.raises(StoreFull):
        desk.commit(desk.message(draft("other")), large)
    assert recounted(desk) == {"abc": (1, 1, small.id)}
    assert desk.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]
    assert desk.store.mark("last_id") == small.last_id
    make_room(desk)
    again = desk.message(draft(content="x" * 100_000), "k", client_key=True)
    outcomes = desk.commit(again)
    assert answers(outcomes) == [desk.sent(again)]
    assert counted(outcomes) == {"abc": (2, 2, small.id)}


def test_a_write_to_a_locked_database_fails_but_is_not_fatal(desk: Desk) -> None:
    other = sqlite3.connect(desk.state_dir / "mailroom.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    desk.rows("PRAGMA busy_timeout = 1")
    with pytest.raises(StoreFailed) as failed:
        desk.commit(desk.message(draft()))
    assert not failed.value.fatal
    other.execute("ROLLBACK")
    other.close()
    assert counted(desk.commit(desk.message(draft())))["abc"][:2] == (1, 1)


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


def test_a_log_that_a_crash_left_is_settled_at_the_start(desk: Desk) -> None:
    desk.commit(desk.message(draft()))
    log = desk.state_dir / "mailroom.db-wal"
    assert log.stat().st_size > 0
    keeper = open_archive(desk.state_dir)  # so that closing the writer folds nothing in by itself
    desk.reopen()
    assert log.stat().st_size == 0
    assert counted(desk.commit(desk.message(draft())))["abc"][0] == 2
    keeper.close()


def test_a_log_left_by_a_full_disk_is_settled_before_the_next_commit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def settle(connection: sqlite3.Connection) -> None:
        if full:
            raise error(sqlite3.SQLITE_FULL)

    first = desk.message(draft())
    desk.commit(first)
    desk.store.close()
    monkeypatch.setattr("mailroomd.storage.database.transactions.settle_log", settle)
    desk.store = MessageStore(desk.state_dir)
    assert desk.store.files.message(first.id) is not None
    with pytest.raises(StoreFull):
        desk.commit(desk.message(draft()))
    full = False
    assert counted(desk.commit(desk.message(draft())))["abc"][0] == 2


def test_a_state_dir_with_hostile_characters_in_its_name_is_opened(tmp_path: Path) -> None:
    place = tmp_path / "a?b#c%20d é"
    place.mkdir()
    desk = Desk(place)
    desk.commit(desk.message(draft()))
    with closing(MessageArchive(place)) as archive:
        assert archive.last_id() == desk.last_id
    assert (place / "mailroom.db").exists()
    desk.store.close()


def test_closing_while_somebody_reads_is_no_error(desk: Desk) -> None:
    desk.commit(desk.message(draft()))
    reader = sqlite3.connect(desk.state_dir / "mailroom.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM messages").fetchall()
    desk.commit(desk.message(draft()))
    desk.rows("PRAGMA busy_timeout = 1")
    desk.store.close()
    reader.close()
    desk.store = MessageStore(desk.state_dir)


def test_a_reader_is_waited_for_only_after_a_failed_fsync(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SETTLE_TIMEOUT_MS", 20)
    desk.commit(desk.message(draft()))
    reader = MessageArchive(desk.state_dir)
    reader._connection.execute("BEGIN")  # pyright: ignore[reportPrivateUsage]
    assert reader.last_id() == desk.last_id
    desk.commit(desk.message(draft()))
    desk.reopen()
    desk.commit(desk.message(draft()))
    mark_lost_write(desk.state_dir)
    desk.reopen()
    with pytest.raises(StoreFailed, match="another process reads"):
        desk.commit(desk.message(draft()))
    assert len(desk.rows("SELECT * FROM messages")) == 3  # what is there can be read meanwhile
    reader.close()
    desk.commit(desk.message(draft()))
    assert len(desk.rows("SELECT * FROM messages")) == 4
    assert not has_lost_write(desk.state_dir)
