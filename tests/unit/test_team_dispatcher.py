"""What a team inbox's sender is told in time, and what is noted when it is known at last."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.command_queue.team_dispatcher import ANSWER_AFTER_SEC, TeamInboxDispatcher
from mailroomd.model.message import Draft
from mailroomd.protocol.commands import TeamInboxSettled
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox.filing import TeamFiling
from mailroomd.storage.team_inbox.inboxes import TeamInboxes
from support.harness.waiting import BOUND_SEC

NOW_SEC = 1000.0


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Where the lock of bob@alpha's inbox is when somebody holds it."""
    directory = tmp_path / "teams/alpha/inboxes"
    directory.mkdir(parents=True)
    return directory / "bob.json.lock"


def opened(root: Path) -> TeamInboxDispatcher:
    return TeamInboxDispatcher(TeamFiling(TeamInboxes(root, patience_sec=0)))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[TeamInboxDispatcher]:
    made = opened(tmp_path)
    yield made
    made.close()


def mail(number: int, recipient: str = "bob@alpha") -> StoredMail:
    return StoredMail(number, 1_800_000_000_000, Draft(recipient, "alice", "hello"))


def is_rung(desk: TeamInboxDispatcher) -> bool:
    return bool(select.select([desk.fileno()], [], [], 0)[0])


def wait_for_ring(desk: TeamInboxDispatcher) -> None:
    assert select.select([desk.fileno()], [], [], BOUND_SEC)[0], "the filing's thread rings"


def test_a_message_that_is_written_is_settled_at_once_and_noted(desk: TeamInboxDispatcher, tmp_path: Path) -> None:
    assert (desk.due(NOW_SEC), is_rung(desk)) == (60.0, False)
    desk.submit(mail(7), NOW_SEC)
    assert desk.is_waiting(7)
    assert desk.due(NOW_SEC) == ANSWER_AFTER_SEC
    wait_for_ring(desk)
    assert desk.settled(NOW_SEC) == [TeamInboxSettled(7, "")]
    assert not is_rung(desk)
    assert not desk.is_waiting(7)
    assert desk.take_notes() == {7: ""}
    assert desk.take_notes() == {}
    assert b'"mailroom_id":"0000000000000007"' in (tmp_path / "teams/alpha/inboxes/bob.json").read_bytes()


def test_an_inbox_that_somebody_else_has_locked_is_settled_after_a_quarter_of_a_second_with_the_reason(
    desk: TeamInboxDispatcher, lock: Path
) -> None:
    lock.mkdir()
    desk.submit(mail(7), NOW_SEC)
    desk.submit(mail(8, "eve@alpha"), NOW_SEC + 0.1)
    wait_for_ring(desk)
    assert desk.settled(NOW_SEC + 0.24) == [TeamInboxSettled(8, "")], "others do not wait for it"
    assert desk.is_waiting(7)
    ((number, reason),) = [(one.message_id, one.error) for one in desk.settled(NOW_SEC + ANSWER_AFTER_SEC)]
    assert number == 7
    assert "is tried again" in reason
    assert "lock" in reason
    assert desk.take_notes() == {8: "", 7: reason}
    assert desk.settled(NOW_SEC + 9) == [], "it is settled once"


def test_an_entry_that_is_there_at_last_is_noted_and_not_settled_again(desk: TeamInboxDispatcher, lock: Path) -> None:
    lock.mkdir()
    desk.submit(mail(7), NOW_SEC)
    assert len(desk.settled(NOW_SEC + 1)) == 1
    assert list(desk.take_notes()) == [7]
    lock.rmdir()
    wait_for_ring(desk)
    assert desk.settled(NOW_SEC + 2) == []
    assert desk.take_notes() == {7: ""}


def test_a_name_that_can_never_be_written_is_settled_with_that(desk: TeamInboxDispatcher) -> None:
    desk.submit(mail(7, "bob@"), NOW_SEC)
    wait_for_ring(desk)
    ((number, error),) = [(one.message_id, one.error) for one in desk.settled(NOW_SEC)]
    assert number == 7
    assert error
    assert "again" not in error


def test_notes_that_could_not_be_written_are_kept_and_never_replace_newer_ones(
    desk: TeamInboxDispatcher, lock: Path
) -> None:
    lock.mkdir()
    for number in (7, 8):
        desk.submit(mail(number), NOW_SEC)
    desk.settled(NOW_SEC + 1)
    old = desk.take_notes()
    assert old.keys() == {7, 8}
    lock.rmdir()
    newer: dict[int, str] = {}
    while len(newer) < 2:
        wait_for_ring(desk)
        assert desk.settled(NOW_SEC + 2) == []
        newer |= desk.take_notes()
    desk.put_notes_back(newer)
    desk.put_notes_back(old)
    assert desk.take_notes() == {7: "", 8: ""}


def test_at_a_stop_what_waits_is_tried_once_more_and_what_is_left_says_so(lock: Path, tmp_path: Path) -> None:
    desk = opened(tmp_path)
    lock.mkdir()
    desk.submit(mail(7), NOW_SEC)
    desk.submit(mail(8, "eve@alpha"), NOW_SEC)
    desk.close()
    notes = desk.take_notes()
    assert notes[8] == ""
    assert "the daemon stopped" in notes[7]
