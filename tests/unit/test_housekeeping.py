"""The command-queue's periodic work is done in time, also while mail never pauses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.command_queue.housekeeping import INDEX_PATIENCE_SEC, INDEX_QUIET_SEC, Housekeeping
from mailroomd.model.settings import Settings
from mailroomd.storage.inbox.files import InboxFiles
from support.harness.storing import Desk, draft

STEP_SEC = INDEX_QUIET_SEC / 4


@pytest.fixture
def housekeeping(desk: Desk, tmp_path: Path) -> Iterator[Housekeeping]:
    files = InboxFiles(tmp_path / "root")
    made = Housekeeping(Settings(root=tmp_path / "root", state_dir=tmp_path), desk.store, files)
    yield made
    made.finish(desk.now_ms)
    files.close()


def deliver(desk: Desk, housekeeping: Housekeeping, now_sec: float) -> None:
    (message_id,) = desk.send(draft())
    housekeeping.on_mail_filed(message_id, 1, now_sec)
    housekeeping.run(now_sec, desk.now_ms)


def test_the_index_waits_for_a_pause_of_the_mail(desk: Desk, housekeeping: Housekeeping) -> None:
    housekeeping.run(100.0, desk.now_ms)
    for step in range(4):
        deliver(desk, housekeeping, 101.0 + step * STEP_SEC)
    assert desk.store.search.backlog() == 4
    housekeeping.run(101.0 + 8 * STEP_SEC, desk.now_ms)
    assert desk.store.search.backlog() == 0


def test_mail_that_never_pauses_is_indexed_every_few_seconds(desk: Desk, housekeeping: Housekeeping) -> None:
    now_sec, backlogs = 100.0, list[int]()
    housekeeping.run(now_sec, desk.now_ms)
    while now_sec < 100.0 + 3 * INDEX_PATIENCE_SEC:
        now_sec += STEP_SEC
        deliver(desk, housekeeping, now_sec)
        backlogs.append(desk.store.search.backlog())
    assert max(backlogs) <= INDEX_PATIENCE_SEC / STEP_SEC + 5
    assert min(backlogs[5:]) <= 1
