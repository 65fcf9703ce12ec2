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
from support.harness.storing import Desk, answers, draft


class Office:
    """A desk with files, an outbox and local events; its clocks move when told."""

    def __init__(self, place: Path) -> None:
        (place / "state").mkdir()
        self.root = place / "root"
        self.desk = Desk(place / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.desk.store.files)
        self.events = LocalEvents(self.desk.store, self.filing, Outbox(self.root))
        self.now_sec = 100.0

    def send(self, *names: str, ttl_ms: int = 0, reply_by_ms: int = 0) -> list[int]:
        drafts = [msgspec.structs.replace(draft(name, ttl_ms=ttl_ms), reply_by_ms=reply_by_ms) for name in names]
        result = self.desk.result(*map(self.desk.message, drafts))
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
        self.desk.now_ms += int(seconds * 1000)
        return self.events.poll(self.now_sec, self.desk.now_ms)

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
        return Command(self.desk.issue(request.count), IdsAllocated(request.request, agent), request.count)

    def sequence(self, command: Command) -> SequencedEvent:
        assert isinstance(command.op, IdsAllocated)
        return self.events.sequence(command, command.op)

    def commit(self, *requests: AllocateIds, agent: str = "") -> list[Outcome | Report]:
        """Commits the events of these requests."""
        allocated = [self.allocate(request, agent) for request in requests]
        result = self.desk.result(*map(self.sequence, allocated))
        self.events.on_committed(Commit(allocated, result, 0, 0, 0, 0))
        for mailbox, message_ids in result.removed:
            self.filing.remove_files(mailbox, message_ids)
        return answers(result.outcomes)

    def path(self, name: str, message_id: int) -> Path:
        return self.root / "inbox" / name / f"{message_id:016x}.json"

    def states(self) -> list[DeliveryState]:
        return [DeliveryState(state) for (state,) in self.desk.rows("SELECT state FROM messages ORDER BY id")]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    made.pass_time(5)
    yield made
    made.events.close()
    made.files.close()
    made.desk.store.close()


# -- taken files ------------------------------------------------------------------------------------------------------


def test_mail_whose_file_was_taken_is_read_once_that_is_committed(office: Office) -> None:
    taken, kept = office.send("a", "a")
    office.path("a", taken).unlink()
    (request,) = office.wait(2)
    assert (request.count, request.name) == (1, "")
    assert office.states() == [DeliveryState.FILED] * 2, "nothing is read before it is committed"
    assert StatesAdvanced(DeliveryState.READ, [taken]) in office.commit(request)
    assert office.states() == [DeliveryState.READ, DeliveryState.FILED]
    assert office.wait(15) == []
    assert office.path("a", kept).exists()


def test_our_own_removals_are_not_events(office: Office) -> None:
    one, _ = office.send("a", "a")
    office.desk.commit(office.desk.reading("a", one))
    office.filing.remove_files("a", [one])
    assert office.wait(15) == []


def test_the_filing_forgets_taken_files_once_they_are_committed(office: Office) -> None:
    message_ids = office.send(*["a"] * 5)
    for message_id in message_ids:
        office.path("a", message_id).unlink()
    requests = office.wait(2)
    assert office.filing.uncommitted == 5
    office.commit(*requests)
    assert office.filing.uncommitted == 0


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_mail_expires_when_its_time_runs_out_and_not_before(office: Office) -> None:
    first, second = office.send("a", ttl_ms=10_000)[0], office.send("b", ttl_ms=20_000)[0]
    assert office.pass_time(0) <= 10.1
    office.pass_time(9.9)
    assert office.requests() == []
    office.pass_time(0.2)
    assert StatesAdvanced(DeliveryState.EXPIRED, [first]) in office.commit(*office.requests())
    assert not office.path("a", first).exists()
    assert office.pass_time(0) <= 10.1
    office.pass_time(10.1)
    assert StatesAdvanced(DeliveryState.EXPIRED, [second]) in office.commit(*office.requests())


def test_expired_mail_is_not_found_again_while_it_waits_for_ids(office: Office) -> None:
    office.send(*["a"] * 3, ttl_ms=1000)
    office.pass_time(2)
    (request,) = office.requests()
    for _ in range(3):
        office.pass_time(POLL_SEC)
        assert office.requests() == []
    assert office.events.unanswered_requests() == [request]
    office.commit(request)
    assert office.events.unanswered_requests() == []


def test_much_mail_expires_in_pages_one_after_the_other(office: Office) -> None:
    office.send(*["a"] * (PAGE + 5), ttl_ms=1000)
    counts: list[int] = []
    office.pass_time(2)
    while requests := office.requests():
        counts += [request.count for request in requests]
        office.commit(*requests)
        office.pass_time(0)
    assert counts == [PAGE, 5]
    assert set(office.states()) == {DeliveryState.EXPIRED}


def test_a_clock_that_was_set_forward_is_noticed_within_a_minute(office: Office) -> None:
    office.send("a", ttl_ms=3_600_000)
    assert office.pass_time(0) <= POLL_SEC
    office.desk.now_ms += 7_200_000
    office.pass_time(POLL_SEC)
    assert len(office.requests()) == 1


# -- deadlines for answers --------------------------------------------------------------------------------------------


def receipts(office: Office) -> list[tuple[int, DeliveryState]]:
    rows = office.desk.rows("SELECT message_id, state FROM receipts ORDER BY id")
    return [(message_id, DeliveryState(state)) for message_id, state in rows]


def test_an_answer_is_overdue_when_its_time_has_passed_and_not_before(office: Office) -> None:
    due_ms = office.desk.now_ms + 10_000
    (asked,) = office.send("a", reply_by_ms=due_ms)
    assert office.pass_time(0) <= 10.1
    office.pass_time(9.9)
    assert office.requests() == []
    office.pass_time(0.2)
    office.commit(*office.requests())
    assert receipts(office) == [(asked, DeliveryState.OVERDUE)]
    assert office.states() == [DeliveryState.FILED]
    assert office.path("a", asked).exists()
    assert office.wait(POLL_SEC * 2) == []


def test_many_overdue_answers_are_reported_in_pages_beside_mail_that_expires(office: Office) -> None:
    office.send(*["a"] * (PAGE + 5), reply_by_ms=office.desk.now_ms + 1000)
    (expiring,) = office.send("b", ttl_ms=1000)
    counts: list[int] = []
    office.pass_time(2)
    while requests := office.requests():
        counts += [request.count for request in requests]
        office.commit(*requests)
        office.pass_time(0)
    assert sorted(counts) == [1, 5, PAGE]
    assert (expiring, DeliveryState.EXPIRED) in receipts(office)
    assert len(receipts(office)) == PAGE + 6


# -- responses --------------------------------------------------------------------------------------------------------


def test_a_responses_file_is_deleted_only_once_it_is_committed(office: Office) -> None:
    path = office.leave("a.json", answer=42)
    (request,) = office.wait(2)
    assert (request.count, request.name) == (1, "s")
    assert office.wait(5) == []
    assert path.exists()
    outcomes = office.commit(request, agent="lead")
    assert ResponseStored("lead", office.desk.last_id) in outcomes
    assert not path.exists()
    archive = MessageArchive(office.desk.state_dir)
    ((name, body),) = [(response.file_name, response.body) for response in archive.responses(["lead"], 0, 1 << 62, 9)]
    assert (name, body) == ("a.json", b'{"answer":42}')
    archive.close()


def test_a_response_that_could_not_be_committed_keeps_its_file_and_asks_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = office.leave("a.json", answer=42)
    (request,) = office.wait(2)
    monkeypatch.setattr("time.monotonic", lambda: office.now_sec)
    office.events.on_refused(Refusal([office.allocate(request)], []))
    assert office.pass_time(0) <= RETRY_SEC
    assert (office.requests(), path.exists()) == ([], True)
    office.pass_time(RETRY_SEC)
    assert office.requests() == [request]
    office.commit(request, agent="lead")
    assert not path.exists()


def test_a_response_file_left_by_a_crash_is_deleted_and_not_announced_again(office: Office) -> None:
    path = office.leave("a.json", answer=42)
    (request,) = office.wait(2)
    office.desk.commit(office.sequence(office.allocate(request, "lead")))  # the crash: its file is still there
    office.events.close()
    office.desk.reopen()
    office.filing = Filing(office.root, office.files, office.desk.store.files)
    office.events = LocalEvents(office.desk.store, office.filing, Outbox(office.root))
    outcomes = office.commit(*office.wait(2), agent="lead")
    assert not [outcome for outcome in outcomes if isinstance(outcome, ResponseStored)]
    assert not path.exists()


# -- files that could not be written ----------------------------------------------------------------------------------


def test_a_file_that_is_written_late_asks_for_the_id_of_its_receipt(office: Office) -> None:
    (office.root / "inbox/a").touch()
    result = office.desk.result(office.desk.message(draft("a")))
    errors = office.filing.file_mail(result.mail, office.now_sec)
    office.desk.store.files.record_unfiled(errors)
    office.pass_time(1)
    assert office.requests() == []
    (office.root / "inbox/a").unlink()
    office.pass_time(60)
    office.commit(*office.requests())
    assert office.states() == [DeliveryState.FILED]
    assert office.path("a", result.mail[0].id).exists()
    assert office.requests() == []


def file_late(office: Office, count: int) -> list[int]:
    """Sends messages to "a" whose files are obstructed at first; returns their ids, filed but not committed yet."""
    (office.root / "inbox/a").touch()
    result = office.desk.result(*[office.desk.message(draft("a")) for _ in range(count)])
    office.desk.store.files.record_unfiled(office.filing.file_mail(result.mail, office.now_sec))
    office.pass_time(1)
    (office.root / "inbox/a").unlink()
    office.pass_time(60)
    return [message.id for message in result.mail]


def test_a_late_file_that_is_taken_before_its_commit_counts_as_read(office: Office) -> None:
    taken, _ = file_late(office, 2)
    office.path("a", taken).unlink()
    office.wait(5)  # events of the watch mean nothing yet
    office.commit(*office.events.unanswered_requests())
    assert office.states() == [DeliveryState.FILED] * 2
    office.commit(*office.wait(5))
    assert office.states() == [DeliveryState.READ, DeliveryState.FILED]


def replace_directory(office: Office) -> None:
    shutil.rmtree(office.root / "inbox/a")
    (office.root / "inbox/a").mkdir()


def wait_until_everything_is_filed(office: Office, message_ids: list[int]) -> None:
    for _ in range(5):
        office.commit(*office.wait(10))
    assert office.states() == [DeliveryState.FILED] * len(message_ids), "nobody has read anything"
    assert [message_id for message_id in message_ids if not office.path("a", message_id).exists()] == []
    assert office.desk.store.files.unfiled() == []


def test_late_files_in_a_directory_lost_before_the_commit_are_written_again(office: Office) -> None:
    message_ids = file_late(office, 2)
    replace_directory(office)
    office.commit(*office.events.unanswered_requests(), *office.requests())
    wait_until_everything_is_filed(office, [*message_ids, *office.send("a")])


def test_files_in_a_directory_that_was_replaced_are_written_again(
    office: Office,
) -> None:
    message_ids = office.send("a", "a")
    replace_directory(office)
    wait_until_everything_is_filed(office, [*message_ids, *office.send("a")])


def test_a_directory_lost_again_during_its_recovery_makes_nothing_read(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    slice_size = 20
    monkeypatch.setattr(filing, "RETRY_SLICE", slice_size)
    message_ids = office.send(*["a"] * (slice_size + 5))
    office.wait(2)
    shutil.rmtree(office.root / "inbox/a")
    office.pass_time(0.01)
    while len(list((office.root / "inbox").glob("a/*"))) < slice_size:
        office.pass_time(0.1)  # the first slice is there again, the rest is not
    replace_directory(office)
    wait_until_everything_is_filed(office, message_ids)


def test_a_directory_that_its_agent_removes_when_all_is_read_is_not_lost(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    (message_id,) = office.send("a")
    office.path("a", message_id).unlink()
    office.commit(*office.wait(2))
    replace_directory(office)
    (second,) = office.send("a")
    assert office.wait(5) == []
    assert office.path("a", second).exists()
    assert "lost" not in capsys.readouterr().err


# -- events that cannot be executed -----------------------------------------------------------------------------------


def test_mail_whose_expiry_cannot_be_executed_keeps_no_other_from_expiring(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_events, "time", Mock(monotonic=lambda: office.now_sec))
    odd, good = office.send("a", "b", ttl_ms=1000)
    committed: list[Outcome | Report] = []
    for _ in range(20):
        for request in office.wait(2):
            allocated = Command(1, IdsAllocated(request.request), request.count)
            event = office.sequence(allocated).event
            assert isinstance(event, MailExpired)
            if odd in event.message_ids:
                office.events.on_refused(Refusal([allocated], [], is_set_aside=True))
            else:
                committed += office.commit(request)
    assert StatesAdvanced(DeliveryState.EXPIRED, [good]) in committed
    assert office.path("a", odd).exists()
    assert office.wait(POLL_SEC * 2) == [], "it is not asked for again and again"
    (later,) = office.send("c", ttl_ms=1000)
    (request,) = office.wait(POLL_SEC + 2)
    assert StatesAdvanced(DeliveryState.EXPIRED, [later]) in office.commit(request)
