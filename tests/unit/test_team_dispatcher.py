"""The sender of a team message gets a result in time; the last result is recorded."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.command_queue.team_dispatcher import ANSWER_AFTER_SEC, TeamInboxDispatcher
from mailroomd.model.message import Draft
from mailroomd.protocol.reports import TeamInboxSettled
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.team_inbox import file
from mailroomd.storage.team_inbox.filing import TeamFiling
from mailroomd.storage.team_inbox.inboxes import TeamInboxes
from support.harness.waiting import BOUND_SEC

NOW_SEC = 1000.0


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Where the lock of bob@alpha's inbox is when somebody holds it."""
    directory = tmp_path / "teams/alpha/inboxes"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "bob.json.lock"


def opened(root: Path) -> TeamInboxDispatcher:
    return TeamInboxDispatcher(TeamFiling(TeamInboxes(root, patience_sec=0)))


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[TeamInboxDispatcher]:
    (tmp_path / "teams/alpha/inboxes").mkdir(parents=True, exist_ok=True)
    made = opened(tmp_path)
    yield made
    made.close()


def mail(message_id: int, recipient: str = "bob@alpha") -> StoredMail:
    return StoredMail(message_id, 1_800_000_000_000, Draft(recipient, "alice", "hello"))


def is_readable(dispatcher: TeamInboxDispatcher) -> bool:
    return bool(select.select([dispatcher.fileno()], [], [], 0)[0])


def wait_until_readable(dispatcher: TeamInboxDispatcher) -> None:
    assert select.select([dispatcher.fileno()], [], [], BOUND_SEC)[0], "the filing's thread wakes the loop"


def test_a_written_entry_is_settled_at_once_and_recorded(dispatcher: TeamInboxDispatcher, tmp_path: Path) -> None:
    assert (dispatcher.due_in_sec(NOW_SEC), is_readable(dispatcher)) == (60.0, False)
    dispatcher.submit(mail(7), NOW_SEC)
    assert dispatcher.is_waiting(7)
    assert dispatcher.due_in_sec(NOW_SEC) == ANSWER_AFTER_SEC
    wait_until_readable(dispatcher)
    assert dispatcher.drain_settled(NOW_SEC) == [TeamInboxSettled(7, "")]
    assert not is_readable(dispatcher)
    assert not dispatcher.is_waiting(7)
    assert dispatcher.drain_results() == {7: ""}
    assert dispatcher.drain_results() == {}
    assert b'"mailroom_id":"0000000000000007"' in (tmp_path / "teams/alpha/inboxes/bob.json").read_bytes()


def test_a_locked_inbox_is_settled_after_a_quarter_of_a_second_with_the_reason(
    dispatcher: TeamInboxDispatcher, lock: Path
) -> None:
    lock.mkdir()
    dispatcher.submit(mail(7), NOW_SEC)
    dispatcher.submit(mail(8, "eve@alpha"), NOW_SEC + 0.1)
    wait_until_readable(dispatcher)
    assert dispatcher.drain_settled(NOW_SEC + 0.24) == [TeamInboxSettled(8, "")], "others do not wait for it"
    assert dispatcher.is_waiting(7)
    ((message_id, reason),) = [
        (settled.message_id, settled.error) for settled in dispatcher.drain_settled(NOW_SEC + ANSWER_AFTER_SEC)
    ]
    assert message_id == 7
    assert "will be retried" in reason
    assert "lock" in reason
    assert dispatcher.drain_results() == {8: "", 7: reason}
    assert dispatcher.drain_settled(NOW_SEC + 9) == [], "it is settled once"


def test_an_entry_written_late_is_recorded_and_not_settled_again(dispatcher: TeamInboxDispatcher, lock: Path) -> None:
    lock.mkdir()
    dispatcher.submit(mail(7), NOW_SEC)
    assert len(dispatcher.drain_settled(NOW_SEC + 1)) == 1
    assert list(dispatcher.drain_results()) == [7]
    lock.rmdir()
    wait_until_readable(dispatcher)
    assert dispatcher.drain_settled(NOW_SEC + 2) == []
    assert dispatcher.drain_results() == {7: ""}


def test_a_name_that_can_never_be_written_is_settled_with_an_error(dispatcher: TeamInboxDispatcher) -> None:
    dispatcher.submit(mail(7, "bob@"), NOW_SEC)
    wait_until_readable(dispatcher)
    ((message_id, error),) = [(settled.message_id, settled.error) for settled in dispatcher.drain_settled(NOW_SEC)]
    assert message_id == 7
    assert error
    assert "again" not in error


def test_requeued_results_never_replace_newer_ones(dispatcher: TeamInboxDispatcher, lock: Path) -> None:
    lock.mkdir()
    for message_id in (7, 8):
        dispatcher.submit(mail(message_id), NOW_SEC)
    dispatcher.drain_settled(NOW_SEC + 1)
    old = dispatcher.drain_results()
    assert old.keys() == {7, 8}
    lock.rmdir()
    newer: dict[int, str] = {}
    while len(newer) < 2:
        wait_until_readable(dispatcher)
        assert dispatcher.drain_settled(NOW_SEC + 2) == []
        newer |= dispatcher.drain_results()
    dispatcher.requeue_results(newer)
    dispatcher.requeue_results(old)
    assert dispatcher.drain_results() == {7: "", 8: ""}


def test_a_stop_tries_waiting_entries_once_more_and_says_what_is_left(lock: Path, tmp_path: Path) -> None:
    dispatcher = opened(tmp_path)
    lock.mkdir()
    dispatcher.submit(mail(7), NOW_SEC)
    dispatcher.submit(mail(8, "eve@alpha"), NOW_SEC)
    dispatcher.close()
    results = dispatcher.drain_results()
    assert results[8] == ""
    assert "the daemon stopped" in results[7]


def test_an_entry_that_is_not_recorded_yet_is_not_written_again(
    dispatcher: TeamInboxDispatcher, tmp_path: Path
) -> None:
    """Its agent may have removed it: a repeated one would be shown twice."""
    inbox = tmp_path / "teams/alpha/inboxes/bob.json"
    dispatcher.submit(mail(7), NOW_SEC)
    wait_until_readable(dispatcher)
    inbox.write_text("[]")
    dispatcher.submit(mail(7), NOW_SEC)
    assert dispatcher.drain_settled(NOW_SEC) == [TeamInboxSettled(7, "")]
    dispatcher.submit(mail(7), NOW_SEC)
    assert dispatcher.waiting == 0
    assert dispatcher.drain_results() == {7: ""}
    assert inbox.read_text() == "[]"


def test_a_message_that_cannot_be_written_is_given_up_and_holds_up_no_other(
    dispatcher: TeamInboxDispatcher, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(mailroom_id: str, message: StoredMail) -> bytes:
        if message.id == 9:
            raise KeyError("unexpected")
        return encoded(mailroom_id, message)

    encoded = file._encode  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(file, "_encode", encode)
    lock.mkdir()  # until all of them wait
    for message_id in range(7, 12):
        dispatcher.submit(mail(message_id), NOW_SEC)
    lock.rmdir()
    results: dict[int, str] = {}
    while len(results) < 5:
        wait_until_readable(dispatcher)
        dispatcher.drain_settled(NOW_SEC)
        results |= dispatcher.drain_results()
    assert {message_id for message_id, error in results.items() if not error} == {7, 8, 10, 11}
    assert "KeyError" in results[9]
    assert "retried" not in results[9]
