"""What nobody orders is looked for, asks for its places, and is let go of only when it is committed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.command_queue.local_events import EXPIRY_SLICE, LOOK_AGAIN_SEC, LocalEvents
from mailroomd.command_queue.pending_events import AGAIN_SEC
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.commands import (
    AllocateIds,
    IdsAllocated,
    MessagesExpired,
    MessagesTaken,
    Outcome,
    ResponseWritten,
)
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import RETRY_SLICE, Filing
from mailroomd.storage.outbox.outbox import Outbox
from support.harness.storing import Desk, answers, draft


class Office:
    """A desk with files and an outbox, and what finds by itself; its clocks move when told."""

    def __init__(self, place: Path) -> None:
        (place / "state").mkdir()
        self.root = place / "root"
        self.desk = Desk(place / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.desk.store.files)
        self.finds = LocalEvents(self.desk.store, self.filing, Outbox(self.root))
        self.now_sec = 100.0

    def send(self, *names: str, ttl_ms: int = 0) -> list[int]:
        done = self.desk.done(*[self.desk.letter(draft(name, ttl_ms=ttl_ms)) for name in names])
        assert self.filing.file_mail(done.mail, self.now_sec) == {}
        self.finds.note_mail(done.mail)
        return [one.id for one in done.mail]

    def leave(self, name: str, **body: object) -> Path:
        place = self.root / "outbox" / "s"
        place.mkdir(exist_ok=True)
        (place / ".aside").write_text(json.dumps(body))
        return (place / ".aside").rename(place / name)

    def pass_by(self, seconds: float) -> float:
        """Lets time pass, then looks; returns for how long nothing will be due."""
        self.now_sec += seconds
        self.desk.now_ms += int(seconds * 1000)
        return self.finds.look(self.now_sec, self.desk.now_ms)

    def wait(self, seconds: float) -> list[AllocateIds]:
        """Lets a worker look as often as it is due in so much time; returns what it asks for."""
        end_sec = self.now_sec + seconds
        wanted: list[AllocateIds] = []
        pause = self.pass_by(0)
        while self.now_sec + pause < end_sec:
            wanted += self.requests()
            pause = self.pass_by(max(pause, 0.01))
        self.pass_by(max(0.0, end_sec - self.now_sec))
        return wanted + self.requests()

    def requests(self) -> list[AllocateIds]:
        return self.finds.requests(self.now_sec)

    def granted(self, wanted: AllocateIds, agent: str = "") -> IdsAllocated:
        return IdsAllocated(self.desk.issue(wanted.count), wanted.count, wanted.request, agent)

    def settle(self, *wanted: AllocateIds, agent: str = "") -> list[Outcome]:
        """Commits what was found at the places that it asked for."""
        grants = [self.granted(one, agent) for one in wanted]
        done = self.desk.done(*map(self.finds.found_at, grants))
        self.finds.committed([one.request for one in grants])
        for mailbox, numbers in done.removed:
            self.filing.remove_files(mailbox, numbers)
        return answers(done.outcomes)

    def path(self, name: str, number: int) -> Path:
        return self.root / "inbox" / name / f"{number:016x}.json"

    def states(self) -> list[DeliveryState]:
        return [DeliveryState(state) for (state,) in self.desk.rows("SELECT state FROM messages ORDER BY id")]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    made.pass_by(5)
    yield made
    made.finds.close()
    made.files.close()
    made.desk.store.close()


# -- taken files ------------------------------------------------------------------------------------------------------


def test_a_file_that_its_agent_took_is_read_once_it_is_committed(office: Office) -> None:
    taken, kept = office.send("a", "a")
    office.path("a", taken).unlink()
    (wanted,) = office.wait(2)
    assert (wanted.count, wanted.name) == (1, "")
    assert office.states() == [DeliveryState.FILED] * 2, "nothing is read before it is committed"
    assert MessagesTaken("a", [taken]) in office.settle(wanted)
    assert office.states() == [DeliveryState.READ, DeliveryState.FILED]
    assert office.wait(15) == []
    assert office.path("a", kept).exists()


def test_our_own_removals_are_no_find(office: Office) -> None:
    one, _ = office.send("a", "a")
    office.desk.commit(office.desk.reading("a", one))
    office.filing.remove_files("a", [one])
    assert office.wait(15) == []


def test_what_was_taken_is_forgotten_by_the_filing_once_it_is_committed(office: Office) -> None:
    numbers = office.send(*["a"] * 5)
    for number in numbers:
        office.path("a", number).unlink()
    wanted = office.wait(2)
    assert office.filing.uncommitted == 5
    office.settle(*wanted)
    assert office.filing.uncommitted == 0


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_mail_is_found_when_its_time_runs_out_and_not_before(office: Office) -> None:
    first, second = office.send("a", ttl_ms=10_000)[0], office.send("b", ttl_ms=20_000)[0]
    assert office.pass_by(0) <= 10.1
    office.pass_by(9.9)
    assert office.requests() == []
    office.pass_by(0.2)
    assert MessagesExpired([first]) in office.settle(*office.requests())
    assert not office.path("a", first).exists()
    assert office.pass_by(0) <= 10.1
    office.pass_by(10.1)
    assert MessagesExpired([second]) in office.settle(*office.requests())


def test_mail_that_is_found_to_expire_is_not_found_again_while_it_waits_for_its_places(office: Office) -> None:
    office.send(*["a"] * 3, ttl_ms=1000)
    office.pass_by(2)
    (wanted,) = office.requests()
    for _ in range(3):
        office.pass_by(LOOK_AGAIN_SEC)
        assert office.requests() == []
    assert office.finds.asked() == [wanted]
    office.settle(wanted)
    assert office.finds.asked() == []


def test_much_mail_expires_in_slices_one_behind_the_other(office: Office) -> None:
    office.send(*["a"] * (EXPIRY_SLICE + 5), ttl_ms=1000)
    counts: list[int] = []
    office.pass_by(2)
    while wanted := office.requests():
        counts += [one.count for one in wanted]
        office.settle(*wanted)
        office.pass_by(0)
    assert counts == [EXPIRY_SLICE, 5]
    assert set(office.states()) == {DeliveryState.EXPIRED}


def test_a_clock_that_was_set_forward_is_noticed_within_a_minute(office: Office) -> None:
    office.send("a", ttl_ms=3_600_000)
    assert office.pass_by(0) <= LOOK_AGAIN_SEC
    office.desk.now_ms += 7_200_000
    office.pass_by(LOOK_AGAIN_SEC)
    assert len(office.requests()) == 1


# -- responses --------------------------------------------------------------------------------------------------------


def test_a_responses_file_is_deleted_only_once_it_is_committed(office: Office) -> None:
    path = office.leave("a.json", answer=42)
    (wanted,) = office.wait(2)
    assert (wanted.count, wanted.name) == (1, "s")
    assert office.wait(5) == []
    assert path.exists()
    outcomes = office.settle(wanted, agent="lead")
    assert ResponseWritten("lead", office.desk.last_id) in outcomes
    assert not path.exists()
    archive = MessageArchive(office.desk.state_dir)
    ((name, body),) = [(one.file_name, one.body) for one in archive.responses(["lead"], 0, 1 << 62, 9)]
    assert (name, body) == ("a.json", b'{"answer":42}')
    archive.close()


def test_a_find_that_could_not_be_committed_keeps_its_file_and_asks_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = office.leave("a.json", answer=42)
    (wanted,) = office.wait(2)
    monkeypatch.setattr("time.monotonic", lambda: office.now_sec)
    office.finds.put_off([wanted.request])
    assert office.pass_by(0) <= AGAIN_SEC
    assert (office.requests(), path.exists()) == ([], True)
    office.pass_by(AGAIN_SEC)
    assert office.requests() == [wanted]
    office.settle(wanted, agent="lead")
    assert not path.exists()


def test_a_file_that_a_crash_left_behind_its_commit_is_deleted_and_not_announced_again(office: Office) -> None:
    path = office.leave("a.json", answer=42)
    (wanted,) = office.wait(2)
    office.desk.commit(office.finds.found_at(office.granted(wanted, "lead")))  # the crash: its file is still there
    office.finds.close()
    office.desk.reopen()
    office.filing = Filing(office.root, office.files, office.desk.store.files)
    office.finds = LocalEvents(office.desk.store, office.filing, Outbox(office.root))
    outcomes = office.settle(*office.wait(2), agent="lead")
    assert not [one for one in outcomes if isinstance(one, ResponseWritten)]
    assert not path.exists()


# -- files that could not be written ----------------------------------------------------------------------------------


def test_a_file_that_is_written_at_last_asks_for_the_place_of_its_receipt(office: Office) -> None:
    (office.root / "inbox/a").touch()
    done = office.desk.done(office.desk.letter(draft("a")))
    errors = office.filing.file_mail(done.mail, office.now_sec)
    office.desk.store.files.note_unfiled(errors)
    office.pass_by(1)
    assert office.requests() == []
    (office.root / "inbox/a").unlink()
    office.pass_by(60)
    office.settle(*office.requests())
    assert office.states() == [DeliveryState.FILED]
    assert office.path("a", done.mail[0].id).exists()
    assert office.requests() == []


def file_late(office: Office, letters: int) -> list[int]:
    """Sends letters to "a" whose files find something in their way at first; returns their ids, not committed yet."""
    (office.root / "inbox/a").touch()
    done = office.desk.done(*[office.desk.letter(draft("a")) for _ in range(letters)])
    office.desk.store.files.note_unfiled(office.filing.file_mail(done.mail, office.now_sec))
    office.pass_by(1)
    (office.root / "inbox/a").unlink()
    office.pass_by(60)
    return [one.id for one in done.mail]


def test_a_file_that_is_taken_between_its_late_writing_and_that_commit_counts_as_read(office: Office) -> None:
    taken, _ = file_late(office, 2)
    office.path("a", taken).unlink()
    office.wait(5)  # whatever the watch hears of it means nothing yet
    office.settle(*office.finds.asked())
    assert office.states() == [DeliveryState.FILED] * 2
    office.settle(*office.wait(5))
    assert office.states() == [DeliveryState.READ, DeliveryState.FILED]


def replace_directory(office: Office) -> None:
    shutil.rmtree(office.root / "inbox/a")
    (office.root / "inbox/a").mkdir()


def let_everything_be_filed(office: Office, numbers: list[int]) -> None:
    for _ in range(5):
        office.settle(*office.wait(10))
    assert office.states() == [DeliveryState.FILED] * len(numbers), "nobody has read anything"
    assert [one for one in numbers if not office.path("a", one).exists()] == []
    assert office.desk.store.files.unfiled() == []


def test_what_was_written_late_into_a_directory_that_is_lost_before_the_commit_is_filed_again(office: Office) -> None:
    numbers = file_late(office, 2)
    replace_directory(office)
    office.settle(*office.finds.asked(), *office.requests())
    let_everything_be_filed(office, [*numbers, *office.send("a")])


def test_what_was_delivered_into_a_directory_that_is_replaced_before_anybody_looks_is_filed_again(
    office: Office,
) -> None:
    numbers = office.send("a", "a")
    replace_directory(office)
    let_everything_be_filed(office, [*numbers, *office.send("a")])


def test_a_directory_that_is_lost_again_while_it_is_filed_again_makes_nothing_read(office: Office) -> None:
    numbers = office.send(*["a"] * (RETRY_SLICE + 5))
    office.wait(2)
    shutil.rmtree(office.root / "inbox/a")
    office.pass_by(0.01)
    while len(list((office.root / "inbox").glob("a/*"))) < RETRY_SLICE:
        office.pass_by(0.1)  # the first slice is there again, the rest is not
    replace_directory(office)
    let_everything_be_filed(office, numbers)


def test_a_directory_that_its_agent_removes_when_all_is_read_is_no_loss(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    (number,) = office.send("a")
    office.path("a", number).unlink()
    office.settle(*office.wait(2))
    replace_directory(office)
    (second,) = office.send("a")
    assert office.wait(5) == []
    assert office.path("a", second).exists()
    assert "lost" not in capsys.readouterr().err
