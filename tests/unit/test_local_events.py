"""Local events are found, ask for their ids, and are dropped only when they are committed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest
from mailroomd.command_queue import local_events
from mailroomd.command_queue.commit import Commit, Refusal
from mailroomd.command_queue.due_mail import PAGE, POLL_SEC
from mailroomd.command_queue.local_events import RETRY_SEC, LocalEvents
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import MailExpired
from mailroomd.protocol.operations import IdsAllocated
from mailroomd.protocol.packets import Command, Outcome
from mailroomd.protocol.reports import AllocateIds, Report, ResponseStored, StatesAdvanced
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.message_store import SequencedEvent
from mailroomd.storage.inbox import filing
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.outbox.outbox import Outbox
from support.harness.storing import StoreHarness, answers, draft


class LocalEventsSetup:
    """A harness with files, an outbox and local events; its clocks move when told."""

    def __init__(self, place: Path) -> None:
        (place / "state").mkdir()
        self.root = place / "root"
        self.harness = StoreHarness(place / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.harness.store.files)
        self.events = LocalEvents(self.harness.store, self.filing, Outbox(self.root))
        self.now_sec = 100.0

    def send(self, *names: str, ttl_ms: int = 0, reply_by_ms: int = 0) -> list[int]:
        drafts = [msgspec.structs.replace(draft(name, ttl_ms=ttl_ms), reply_by_ms=reply_by_ms) for name in names]
        result = self.harness.result(*map(self.harness.message, drafts))
        assert self.filing.file_mail(result.mail, self.now_sec) == {}
        self.events.on_committed(Commit([], result, 0, 0, 0, 0))
        return [message.id for message in result.mail]

    def leave(self, name: str, **body: object) -> Path:
        place = self.root / "outbox" / "s"
        place.mkdir(exist_ok=True)
        (place / ".aside").write_text(json.dumps(body))
        return (place / ".aside").rename(place / name)

    def pass_time(self, seconds: float) -> float:
        """Lets time pass, then polls; returns for how long nothing will be due."""
        self.now_sec += seconds
        self.harness.now_ms += int(seconds * 1000)
        return self.events.poll(self.now_sec, self.harness.now_ms)

    def wait(self, seconds: float) -> list[AllocateIds]:
        """Lets a worker poll whenever it is due within this time; returns its requests."""
        end_sec = self.now_sec + seconds
        requests: list[AllocateIds] = []
        pause = self.pass_time(0)
        while self.now_sec + pause < end_sec:
            requests += self.requests()
            pause = self.pass_time(max(pause, 0.01))
        self.pass_time(max(0.0, end_sec - self.now_sec))
        return requests + self.requests()

    def requests(self) -> list[AllocateIds]:
        return self.events.drain_requests(self.now_sec)

    def allocate(self, request: AllocateIds, agent: str = "") -> Command:
        return Command(self.harness.issue(request.count), IdsAllocated(request.request, agent), request.count)

    def sequence(self, command: Command) -> SequencedEvent:
        assert isinstance(command.op, IdsAllocated)
        return self.events.sequence(command, command.op)

    def commit(self, *requests: AllocateIds, agent: str = "") -> list[Outcome | Report]:
        """Commits the events of these requests."""
        allocated = [self.allocate(request, agent) for request in requests]
        result = self.harness.result(*map(self.sequence, allocated))
        self.events.on_committed(Commit(allocated, result, 0, 0, 0, 0))
        for mailbox, message_ids in result.removed:
            self.filing.remove_files(mailbox, message_ids)
        return answers(result.outcomes)

    def path(self, name: str, message_id: int) -> Path:
        return self.root / "inbox" / name / f"{message_id:016x}.json"

    def states(self) -> list[DeliveryState]:
        return [DeliveryState(state) for (state,) in self.harness.rows("SELECT state FROM messages ORDER BY id")]


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[LocalEventsSetup]:
    made = LocalEventsSetup(tmp_path)
    made.pass_time(5)
    yield made
    made.events.close()
    made.files.close()
    made.harness.store.close()


# -- taken files ------------------------------------------------------------------------------------------------------


def test_mail_whose_file_was_taken_is_read_once_that_is_committed(setup: LocalEventsSetup) -> None:
    taken, kept = setup.send("a", "a")
    setup.path("a", taken).unlink()
    (request,) = setup.wait(2)
    assert (request.count, request.name) == (1, "")
    assert setup.states() == [DeliveryState.FILED] * 2, "nothing is read before it is committed"
    assert StatesAdvanced(DeliveryState.READ, [taken]) in setup.commit(request)
    assert setup.states() == [DeliveryState.READ, DeliveryState.FILED]
    assert setup.wait(15) == []
    assert setup.path("a", kept).exists()


def test_our_own_removals_are_not_events(setup: LocalEventsSetup) -> None:
    one, _ = setup.send("a", "a")
    setup.harness.commit(setup.harness.reading("a", one))
    setup.filing.remove_files("a", [one])
    assert setup.wait(15) == []


def test_the_filing_forgets_taken_files_once_they_are_committed(setup: LocalEventsSetup) -> None:
    message_ids = setup.send(*["a"] * 5)
    for message_id in message_ids:
        setup.path("a", message_id).unlink()
    requests = setup.wait(2)
    assert setup.filing.uncommitted == 5
    setup.commit(*requests)
    assert setup.filing.uncommitted == 0


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_mail_expires_when_its_time_runs_out_and_not_before(setup: LocalEventsSetup) -> None:
    first, second = setup.send("a", ttl_ms=10_000)[0], setup.send("b", ttl_ms=20_000)[0]
    assert setup.pass_time(0) <= 10.1
    setup.pass_time(9.9)
    assert setup.requests() == []
    setup.pass_time(0.2)
    assert StatesAdvanced(DeliveryState.EXPIRED, [first]) in setup.commit(*setup.requests())
    assert not setup.path("a", first).exists()
    assert setup.pass_time(0) <= 10.1
    setup.pass_time(10.1)
    assert StatesAdvanced(DeliveryState.EXPIRED, [second]) in setup.commit(*setup.requests())


def test_expired_mail_is_not_found_again_while_it_waits_for_ids(setup: LocalEventsSetup) -> None:
    setup.send(*["a"] * 3, ttl_ms=1000)
    setup.pass_time(2)
    (request,) = setup.requests()
    for _ in range(3):
        setup.pass_time(POLL_SEC)
        assert setup.requests() == []
    assert setup.events.unanswered_requests() == [request]
    setup.commit(request)
    assert setup.events.unanswered_requests() == []


def test_much_mail_expires_in_pages_one_after_the_other(setup: LocalEventsSetup) -> None:
    setup.send(*["a"] * (PAGE + 5), ttl_ms=1000)
    counts: list[int] = []
    setup.pass_time(2)
    while requests := setup.requests():
        counts += [request.count for request in requests]
        setup.commit(*requests)
        setup.pass_time(0)
    assert counts == [PAGE, 5]
    assert set(setup.states()) == {DeliveryState.EXPIRED}


def test_a_clock_that_was_set_forward_is_noticed_within_a_minute(setup: LocalEventsSetup) -> None:
    setup.send("a", ttl_ms=3_600_000)
    assert setup.pass_time(0) <= POLL_SEC
    setup.harness.now_ms += 7_200_000
    setup.pass_time(POLL_SEC)
    assert len(setup.requests()) == 1


# -- deadlines for answers --------------------------------------------------------------------------------------------


def receipts(setup: LocalEventsSetup) -> list[tuple[int, DeliveryState]]:
    rows = setup.harness.rows("SELECT message_id, state FROM receipts ORDER BY id")
    return [(message_id, DeliveryState(state)) for message_id, state in rows]


def test_an_answer_is_overdue_when_its_time_has_passed_and_not_before(setup: LocalEventsSetup) -> None:
    due_ms = setup.harness.now_ms + 10_000
    (asked,) = setup.send("a", reply_by_ms=due_ms)
    assert setup.pass_time(0) <= 10.1
    setup.pass_time(9.9)
    assert setup.requests() == []
    setup.pass_time(0.2)
    setup.commit(*setup.requests())
    assert receipts(setup) == [(asked, DeliveryState.OVERDUE)]
    assert setup.states() == [DeliveryState.FILED]
    assert setup.path("a", asked).exists()
    assert setup.wait(POLL_SEC * 2) == []


def test_many_overdue_answers_are_reported_in_pages_beside_mail_that_expires(setup: LocalEventsSetup) -> None:
    setup.send(*["a"] * (PAGE + 5), reply_by_ms=setup.harness.now_ms + 1000)
    (expiring,) = setup.send("b", ttl_ms=1000)
    counts: list[int] = []
    setup.pass_time(2)
    while requests := setup.requests():
        counts += [request.count for request in requests]
        setup.commit(*requests)
        setup.pass_time(0)
    assert sorted(counts) == [1, 5, PAGE]
    assert (expiring, DeliveryState.EXPIRED) in receipts(setup)
    assert len(receipts(setup)) == PAGE + 6


# -- responses --------------------------------------------------------------------------------------------------------


def test_a_responses_file_is_deleted_only_once_it_is_committed(setup: LocalEventsSetup) -> None:
    path = setup.leave("a.json", answer=42)
    (request,) = setup.wait(2)
    assert (request.count, request.name) == (1, "s")
    assert setup.wait(5) == []
    assert path.exists()
    outcomes = setup.commit(request, agent="lead")
    assert ResponseStored("lead", setup.harness.last_id) in outcomes
    assert not path.exists()
    archive = MessageArchive(setup.harness.state_dir)
    ((name, body),) = [(response.file_name, response.body) for response in archive.responses(["lead"], 0, 1 << 62, 9)]
    assert (name, body) == ("a.json", b'{"answer":42}')
    archive.close()


def test_a_response_that_could_not_be_committed_keeps_its_file_and_asks_again(
    setup: LocalEventsSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = setup.leave("a.json", answer=42)
    (request,) = setup.wait(2)
    monkeypatch.setattr("time.monotonic", lambda: setup.now_sec)
    setup.events.on_refused(Refusal([setup.allocate(request)], []))
    assert setup.pass_time(0) <= RETRY_SEC
    assert (setup.requests(), path.exists()) == ([], True)
    setup.pass_time(RETRY_SEC)
    assert setup.requests() == [request]
    setup.commit(request, agent="lead")
    assert not path.exists()


def test_a_response_file_left_by_a_crash_is_deleted_and_not_announced_again(setup: LocalEventsSetup) -> None:
    path = setup.leave("a.json", answer=42)
    (request,) = setup.wait(2)
    setup.harness.commit(setup.sequence(setup.allocate(request, "lead")))  # the crash: its file is still there
    setup.events.close()
    setup.harness.reopen()
    setup.filing = Filing(setup.root, setup.files, setup.harness.store.files)
    setup.events = LocalEvents(setup.harness.store, setup.filing, Outbox(setup.root))
    outcomes = setup.commit(*setup.wait(2), agent="lead")
    assert not [outcome for outcome in outcomes if isinstance(outcome, ResponseStored)]
    assert not path.exists()


# -- files that could not be written ----------------------------------------------------------------------------------


def test_a_file_that_is_written_late_asks_for_the_id_of_its_receipt(setup: LocalEventsSetup) -> None:
    (setup.root / "inbox/a").touch()
    result = setup.harness.result(setup.harness.message(draft("a")))
    errors = setup.filing.file_mail(result.mail, setup.now_sec)
    setup.harness.store.files.record_unfiled(errors)
    setup.pass_time(1)
    assert setup.requests() == []
    (setup.root / "inbox/a").unlink()
    setup.pass_time(60)
    setup.commit(*setup.requests())
    assert setup.states() == [DeliveryState.FILED]
    assert setup.path("a", result.mail[0].id).exists()
    assert setup.requests() == []


def file_late(setup: LocalEventsSetup, count: int) -> list[int]:
    """Sends messages to "a" whose files are obstructed at first; returns their ids, filed but not committed yet."""
    (setup.root / "inbox/a").touch()
    result = setup.harness.result(*[setup.harness.message(draft("a")) for _ in range(count)])
    setup.harness.store.files.record_unfiled(setup.filing.file_mail(result.mail, setup.now_sec))
    setup.pass_time(1)
    (setup.root / "inbox/a").unlink()
    setup.pass_time(60)
    return [message.id for message in result.mail]


def test_a_late_file_that_is_taken_before_its_commit_counts_as_read(setup: LocalEventsSetup) -> None:
    taken, _ = file_late(setup, 2)
    setup.path("a", taken).unlink()
    setup.wait(5)  # events of the watch mean nothing yet
    setup.commit(*setup.events.unanswered_requests())
    assert setup.states() == [DeliveryState.FILED] * 2
    setup.commit(*setup.wait(5))
    assert setup.states() == [DeliveryState.READ, DeliveryState.FILED]


def replace_directory(setup: LocalEventsSetup) -> None:
    shutil.rmtree(setup.root / "inbox/a")
    (setup.root / "inbox/a").mkdir()


def wait_until_everything_is_filed(setup: LocalEventsSetup, message_ids: list[int]) -> None:
    for _ in range(5):
        setup.commit(*setup.wait(10))
    assert setup.states() == [DeliveryState.FILED] * len(message_ids), "nobody has read anything"
    assert [message_id for message_id in message_ids if not setup.path("a", message_id).exists()] == []
    assert setup.harness.store.files.unfiled() == []


def test_late_files_in_a_directory_lost_before_the_commit_are_written_again(setup: LocalEventsSetup) -> None:
    message_ids = file_late(setup, 2)
    replace_directory(setup)
    setup.commit(*setup.events.unanswered_requests(), *setup.requests())
    wait_until_everything_is_filed(setup, [*message_ids, *setup.send("a")])


def test_files_in_a_directory_that_was_replaced_are_written_again(
    setup: LocalEventsSetup,
) -> None:
    message_ids = setup.send("a", "a")
    replace_directory(setup)
    wait_until_everything_is_filed(setup, [*message_ids, *setup.send("a")])


def test_a_directory_lost_again_during_its_recovery_makes_nothing_read(
    setup: LocalEventsSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    slice_size = 20
    monkeypatch.setattr(filing, "RETRY_SLICE", slice_size)
    message_ids = setup.send(*["a"] * (slice_size + 5))
    setup.wait(2)
    shutil.rmtree(setup.root / "inbox/a")
    setup.pass_time(0.01)
    while len(list((setup.root / "inbox").glob("a/*"))) < slice_size:
        setup.pass_time(0.1)  # the first slice is there again, the rest is not
    replace_directory(setup)
    wait_until_everything_is_filed(setup, message_ids)


def test_a_directory_that_its_agent_removes_when_all_is_read_is_not_lost(
    setup: LocalEventsSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    (message_id,) = setup.send("a")
    setup.path("a", message_id).unlink()
    setup.commit(*setup.wait(2))
    replace_directory(setup)
    (second,) = setup.send("a")
    assert setup.wait(5) == []
    assert setup.path("a", second).exists()
    assert "lost" not in capsys.readouterr().err


# -- events that cannot be executed -----------------------------------------------------------------------------------


def test_mail_whose_expiry_cannot_be_executed_keeps_no_other_from_expiring(
    setup: LocalEventsSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_events, "time", Mock(monotonic=lambda: setup.now_sec))
    odd, good = setup.send("a", "b", ttl_ms=1000)
    committed: list[Outcome | Report] = []
    for _ in range(20):
        for request in setup.wait(2):
            allocated = Command(1, IdsAllocated(request.request), request.count)
            event = setup.sequence(allocated).event
            assert isinstance(event, MailExpired)
            if odd in event.message_ids:
                setup.events.on_refused(Refusal([allocated], [], is_set_aside=True))
            else:
                committed += setup.commit(request)
    assert StatesAdvanced(DeliveryState.EXPIRED, [good]) in committed
    assert setup.path("a", odd).exists()
    assert setup.wait(POLL_SEC * 2) == [], "it is not asked for again and again"
    (later,) = setup.send("c", ttl_ms=1000)
    (request,) = setup.wait(POLL_SEC + 2)
    assert StatesAdvanced(DeliveryState.EXPIRED, [later]) in setup.commit(request)
