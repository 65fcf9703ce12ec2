"""Inbox files that the database does not know: which are imported at a start, and which can only be dismissed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mailroom.inbox_file_encoder import encode_inbox_file
from mailroomd.command_queue.unknown_mail import PAGE, dismiss_unknown_files, import_unknown_files
from mailroomd.model.ids import MS_SHIFT, format_id
from mailroomd.model.message import Draft, Priority
from mailroomd.protocol.operations import Acknowledge, Acknowledged, Cleared
from mailroomd.protocol.packets import Command, Outcome
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.inbox.recovery import recover_files
from mailroomd.storage.inbox.unknown_files import AHEAD_MS
from msgspec import structs
from support.harness.storing import NOW_MS, Desk, draft

ID = (NOW_MS - 60_000) << MS_SHIFT
FULL = Draft(
    "bob",
    "amy",
    "go ☃",
    "question",
    b'{"a":[1,{"b":null}]}',
    "thread",
    0xFF,
    Priority.URGENT,
    60_000,
    verified=True,
    reply_by_ms=NOW_MS,
)


class Office:
    """A database, inbox files, and what links them."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        (directory / "state").mkdir()
        self.desk = Desk(directory / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.desk.store.files)

    def leave(self, mailbox: str, message_id: int, body: bytes | None = None) -> Path:
        """Puts a file into an inbox; by default one that the daemon could have written."""
        body = encode_inbox_file(message_id, NOW_MS - 60_000, draft(mailbox)) if body is None else body
        self.files.write(self.files.ensure_directory(mailbox), message_id, body)
        return self.root / "inbox" / mailbox / f"{format_id(message_id)}.json"

    def recover(self, beat: Callable[[], None] = lambda: None) -> None:
        """What a start of the daemon does."""
        store = self.desk.store
        report = recover_files(store.files, self.files, 0, lambda: None, store.mark("last_id"))
        import_unknown_files(store, self.filing.unknown, report.newer, NOW_MS, beat)

    def unread(self, mailbox: str) -> list[int]:
        return self.desk.store.files.filed_in(mailbox)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.filing.close()
    made.files.close()
    made.desk.store.close()


# -- importing --------------------------------------------------------------------------------------------------------


def test_a_new_database_gets_the_unread_mail_that_the_inbox_files_hold(office: Office) -> None:
    path = office.leave("bob", ID, encode_inbox_file(ID, NOW_MS - 60_000, FULL))
    office.leave("eve", ID + 5)
    before = path.read_bytes()
    office.recover()
    message = office.desk.store.files.message(ID)
    assert message is not None
    assert message.timestamp_ms == NOW_MS - 60_000
    assert message.draft == structs.replace(FULL, verified=False), "a file proves nothing about its sender"
    assert (office.unread("bob"), office.unread("eve")) == ([ID], [ID + 5])
    assert office.desk.store.mark("last_id") > ID + 5
    assert path.read_bytes() == before
    office.recover()
    assert office.unread("bob") == [ID]


def test_files_are_imported_in_pages(office: Office) -> None:
    ids = [ID + 2 * number for number in range(PAGE + 10)]
    for message_id in ids:
        office.leave("bob", message_id)
    beats: list[int] = []
    office.recover(lambda: beats.append(1))
    assert office.unread("bob") == ids
    assert len(beats) == 2


def test_a_database_that_has_issued_higher_ids_imports_nothing(office: Office) -> None:
    """It may have had the message, counted it as read, and deleted it."""
    office.desk.send(draft("bob"))
    path = office.leave("bob", ID)
    office.recover()
    assert office.desk.store.files.message(ID) is None
    assert path.exists()


def changed(**fields: object) -> bytes:
    body: dict[str, Any] = json.loads(encode_inbox_file(ID, NOW_MS, draft("bob")))
    body.update(fields)
    return json.dumps({name: value for name, value in body.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        changed(id=format_id(ID + 1)),
        changed(type="note"),
        changed(session_id="eve"),
        changed(content=...),
        changed(content=5),
        changed(content="x" * (1 << 20 | 1)),
        changed(message_type="x" * 129),
        changed(metadata=...),
        changed(metadata=[]),
        changed(metadata={"x": "y" * (64 << 10)}),
        changed(metadata=json.loads('{"a":' * 33 + "1" + "}" * 33)),
        changed(timestamp="yesterday"),
        changed(timestamp=5),
        changed(timestamp="1969-01-01T00:00:00Z"),
        changed(timestamp="2027-01-15T08:00:00"),
        changed(expires_at="never"),
        changed(expires_at="9999-01-01T00:00:00Z"),
        changed(priority="extreme"),
        changed(in_reply_to="abc"),
        changed(thread_id=7),
        changed(**{"from": "no name"}),
        changed(**{"from": ""}),
    ],
    ids=range(25),
)
def test_a_file_that_the_daemon_could_not_have_written_is_ignored(office: Office, body: bytes) -> None:
    path = office.leave("bob", ID, body)
    office.leave("bob", ID + 2)
    office.recover()
    assert office.unread("bob") == [ID + 2]
    assert path.read_bytes() == body


def test_an_id_from_the_future_is_not_imported(office: Office) -> None:
    """All later ids would follow it, and nothing would be deleted until then."""
    ahead = (NOW_MS + AHEAD_MS) << MS_SHIFT
    office.leave("bob", ahead + (1 << MS_SHIFT))
    office.leave("bob", ahead)
    office.recover()
    assert office.unread("bob") == [ahead]


def test_links_pipes_and_odd_directories_are_not_imported(office: Office, tmp_path: Path) -> None:
    path = office.leave("bob", ID)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    odd = office.root / "inbox" / "no name"
    odd.mkdir()
    (odd / path.name).write_bytes(changed(session_id="no name"))
    office.recover()
    assert office.desk.rows("SELECT count(*) FROM messages") == [(0,)]


# -- dismissing -------------------------------------------------------------------------------------------------------


def test_acknowledging_an_unknown_file_removes_it(office: Office) -> None:
    (known,) = office.desk.send(draft("bob"))
    unknown, missing = office.leave("bob", ID), ID + 1
    foreign = office.leave("bob", ID + 2, b"not a message")
    command = Command(1, Acknowledge("bob", [known, ID, missing, ID + 2]), 4)
    outcome = Outcome(1, Acknowledged([known], [ID, missing, ID + 2]), ["dashboard"])
    assert dismiss_unknown_files([command], [outcome], office.filing.unknown) == [
        Outcome(1, Acknowledged([known, ID], [missing, ID + 2]), ["dashboard"])
    ]
    assert not unknown.exists()
    assert foreign.exists()


def test_a_copy_of_a_known_message_in_another_mailbox_is_not_dismissed(office: Office) -> None:
    (known,) = office.desk.send(draft("eve"))
    copy = office.leave("bob", known)
    command, outcome = Command(1, Acknowledge("bob", [known])), Outcome(1, Acknowledged([], [known]))
    assert dismiss_unknown_files([command], [outcome], office.filing.unknown) == [outcome]
    assert copy.exists()


def test_clearing_a_mailbox_removes_its_unknown_files_in_slices(office: Office) -> None:
    (known,) = office.desk.send(draft("bob"))
    mail = [StoredMail(known, NOW_MS, draft("bob"))]
    assert office.filing.file_mail(mail, 0.0) == {}
    for number in range(3):
        office.leave("bob", ID + number)
    other = office.leave("eve", ID)
    command = office.desk.clearing("bob", known, limit=2)
    deleted: list[int] = []
    for is_left in (True, False):
        cleared = Outcome(command.id, Cleared([], known, has_more=False))
        (outcome,) = dismiss_unknown_files([command], [cleared], office.filing.unknown)
        assert isinstance(outcome, Outcome)
        assert isinstance(outcome.result, Cleared)
        assert (outcome.result.has_more, outcome.result.through_id) == (is_left, known)
        deleted += outcome.result.message_ids
    assert deleted == [ID, ID + 1, ID + 2]
    assert office.files.list_ids("bob") == {known}
    assert other.exists()


def test_a_clearing_that_goes_on_dismisses_nothing_yet(office: Office) -> None:
    path = office.leave("bob", ID)
    command = office.desk.clearing("bob", ID)
    outcome = Outcome(command.id, Cleared([5], ID, has_more=True))
    assert dismiss_unknown_files([command], [outcome], office.filing.unknown) == [outcome]
    assert path.exists()


def test_a_file_that_cannot_be_stored_is_left_out_and_the_others_are_imported(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_ids = [ID + 2 * number for number in range(9)]
    for message_id in message_ids:
        office.leave("bob", message_id)
    odd = message_ids[4]
    insert = office.desk.store.import_mail

    def refuse_one(mail: list[StoredMail], now_ms: int) -> None:
        if any(message.id == odd for message in mail):
            raise KeyError("planted")
        insert(mail, now_ms)

    monkeypatch.setattr(office.desk.store, "import_mail", refuse_one)
    office.recover()
    assert office.unread("bob") == [message_id for message_id in message_ids if message_id != odd]
    assert (office.root / "inbox" / "bob" / f"{format_id(odd)}.json").exists()
