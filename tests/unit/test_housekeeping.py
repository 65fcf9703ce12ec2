"""The command-queue's periodic work is done in time, also while mail never pauses."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from mailroomd.command_queue.housekeeping import INDEX_PATIENCE_SEC, INDEX_QUIET_SEC, SUSPENDED_SEC, Housekeeping
from mailroomd.model.settings import Settings
from mailroomd.protocol.packets import NoteSeen
from mailroomd.storage.inbox.files import InboxFiles
from support.harness.storing import StoreHarness, draft

STEP_SEC = INDEX_QUIET_SEC / 4


@pytest.fixture
def housekeeping(harness: StoreHarness, tmp_path: Path) -> Iterator[Housekeeping]:
    files = InboxFiles(tmp_path / "root")
    made = Housekeeping(Settings(root=tmp_path / "root", state_dir=tmp_path), harness.store, files)
    yield made
    made.finish(harness.now_ms)
    files.close()


def deliver(harness: StoreHarness, housekeeping: Housekeeping, now_sec: float) -> None:
    (message_id,) = harness.send(draft())
    housekeeping.on_mail_filed(message_id, 1, now_sec)
    housekeeping.run(now_sec, harness.now_ms)


def test_the_index_waits_for_a_pause_of_the_mail(harness: StoreHarness, housekeeping: Housekeeping) -> None:
    housekeeping.run(100.0, harness.now_ms)
    for step in range(4):
        deliver(harness, housekeeping, 101.0 + step * STEP_SEC)
    assert harness.store.search.backlog() == 4
    housekeeping.run(101.0 + 8 * STEP_SEC, harness.now_ms)
    assert harness.store.search.backlog() == 0


def test_mail_that_never_pauses_is_indexed_every_few_seconds(harness: StoreHarness, housekeeping: Housekeeping) -> None:
    now_sec, backlogs = 100.0, list[int]()
    housekeeping.run(now_sec, harness.now_ms)
    while now_sec < 100.0 + 3 * INDEX_PATIENCE_SEC:
        now_sec += STEP_SEC
        deliver(harness, housekeeping, now_sec)
        backlogs.append(harness.store.search.backlog())
    assert max(backlogs) <= INDEX_PATIENCE_SEC / STEP_SEC + 5
    assert min(backlogs[5:]) <= 1


def test_work_that_raises_is_left_alone_for_a_while_and_holds_up_no_other(
    harness: StoreHarness, housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[float] = []

    def sweep(*_: object) -> None:
        attempts.append(now_sec)
        raise KeyError("planted")

    monkeypatch.setattr(harness.store, "delete_ended", sweep)
    now_sec = 1000.0
    for _ in range(100):
        deliver(harness, housekeeping, now_sec)
        now_sec += SUSPENDED_SEC / 50
    assert len(attempts) == 2
    housekeeping.run(now_sec + INDEX_PATIENCE_SEC, harness.now_ms)
    assert harness.store.search.backlog() == 0


def test_lazy_writes_that_raise_are_dropped(
    harness: StoreHarness, housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(harness.store, "commit", Mock(side_effect=KeyError("planted")))
        housekeeping.enqueue([NoteSeen("abc", 1)])
        housekeeping.run(100.0, harness.now_ms)
        housekeeping.run(101.0, harness.now_ms)
    assert housekeeping.lazy == []


def test_a_message_with_damaged_text_does_not_stop_the_index(harness: StoreHarness, housekeeping: Housekeeping) -> None:
    first, odd, last = harness.send(*[draft()] * 3)
    harness.rows("UPDATE messages SET content = x'ff' WHERE id = ?", odd)
    housekeeping.on_mail_filed(last, 3, 100.0)
    for step in range(4):
        housekeeping.run(103.0 + step, harness.now_ms)
    assert harness.store.search.backlog() == 0
    harness.commit(harness.reading("abc", first, odd, last))
    deleted, _ = harness.store.delete_ended(harness.now_ms * 2, 10, harness.now_ms)
    assert [message_id for _, message_id in deleted] == [first, odd, last]
