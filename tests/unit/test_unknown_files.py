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
from support.harness.storing import NOW_MS, StoreHarness, draft

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


class ImportSetup:
    """A database, inbox files, and what links them."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        (directory / "state").mkdir()
        self.harness = StoreHarness(directory / "state")
        self.files = InboxFiles(self.root)
        self.filing = Filing(self.root, self.files, self.harness.store.files)

    def leave(self, mailbox: str, message_id: int, body: bytes | None = None) -> Path:
        """Puts a file into an inbox; by default one that the daemon could have written."""
        body = encode_inbox_file(message_id, NOW_MS - 60_000, draft(mailbox)) if body is None else body
        self.files.write(self.files.ensure_directory(mailbox), message_id, body)
        return self.root / "inbox" / mailbox / f"{format_id(message_id)}.json"

    def recover(self, beat: Callable[[], None] = lambda: None) -> None:
        """What a start of the daemon does."""
        store = self.harness.store
        report = recover_files(store.files, self.files, 0, lambda: None, store.mark("last_id"))
        import_unknown_files(store, self.filing.unknown, report.newer, NOW_MS, beat)

    def unread(self, mailbox: str) -> list[int]:
        return self.harness.store.files.filed_in(mailbox)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[ImportSetup]:
    made = ImportSetup(tmp_path)
    yield made
    made.filing.close()
    made.files.close()
    made.harness.store.close()


# -- importing --------------------------------------------------------------------------------------------------------


def test_a_new_database_gets_the_unread_mail_that_the_inbox_files_hold(setup: ImportSetup) -> None:
    path = setup.leave("bob", ID, encode_inbox_file(ID, NOW_MS - 60_000, FULL))
    setup.leave("eve", ID + 5)
    before = path.read_bytes()
    setup.recover()
    message = setup.harness.store.files.message(ID)
    assert message is not None
    assert message.timestamp_ms == NOW_MS - 60_000
    assert message.draft == structs.replace(FULL, verified=False), "a file proves nothing about its sender"
    assert (setup.unread("bob"), setup.unread("eve")) == ([ID], [ID + 5])
    assert setup.harness.store.mark("last_id") > ID + 5
    assert path.read_bytes() == before
    setup.recover()
    assert setup.unread("bob") == [ID]


def test_files_are_imported_in_pages(setup: ImportSetup) -> None:
    ids = [ID + 2 * number for number in range(PAGE + 10)]
    for message_id in ids:
        setup.leave("bob", message_id)
    beats: list[int] = []
    setup.recover(lambda: beats.append(1))
    assert setup.unread("bob") == ids
    assert len(beats) == 2


def test_a_database_that_has_issued_higher_ids_imports_nothing(setup: ImportSetup) -> None:
    """It may have had the message, counted it as read, and deleted it."""
    setup.harness.send(draft("bob"))
    path = setup.leave("bob", ID)
    setup.recover()
    assert setup.harness.store.files.message(ID) is None
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
def test_a_file_that_the_daemon_could_not_have_written_is_ignored(setup: ImportSetup, body: bytes) -> None:
    path = setup.leave("bob", ID, body)
    setup.leave("bob", ID + 2)
    setup.recover()
    assert setup.unread("bob") == [ID + 2]
    assert path.read_bytes() == body


def test_an_id_from_the_future_is_not_imported(setup: ImportSetup) -> None:
    """All later ids would follow it, and nothing would be deleted until then."""
    ahead = (NOW_MS + AHEAD_MS) << MS_SHIFT
    setup.leave("bob", ahead + (1 << MS_SHIFT))
    setup.leave("bob", ahead)
    setup.recover()
    assert setup.unread("bob") == [ahead]


def test_links_pipes_and_odd_directories_are_not_imported(setup: ImportSetup, tmp_path: Path) -> None:
    path = setup.leave("bob", ID)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    odd = setup.root / "inbox" / "no name"
    odd.mkdir()
    (odd / path.name).write_bytes(changed(session_id="no name"))
    setup.recover()
    assert setup.harness.rows("SELECT count(*) FROM messages") == [(0,)]


# -- dismissing -------------------------------------------------------------------------------------------------------


def test_acknowledging_an_unknown_file_removes_it(setup: ImportSetup) -> None:
    (known,) = setup.harness.send(draft("bob"))
    unknown, missing = setup.leave("bob", ID), ID + 1
    foreign = setup.leave("bob", ID + 2, b"not a message")
    command = Command(1, Acknowledge("bob", [known, ID, missing, ID + 2]), 4)
    outcome = Outcome(1, Acknowledged([known], [ID, missing, ID + 2]), ["dashboard"])
    assert dismiss_unknown_files([command], [outcome], setup.filing.unknown) == [
        Outcome(1, Acknowledged([known, ID], [missing, ID + 2]), ["dashboard"])
    ]
    assert not unknown.exists()
    assert foreign.exists()


def test_a_copy_of_a_known_message_in_another_mailbox_is_not_dismissed(setup: ImportSetup) -> None:
    (known,) = setup.harness.send(draft("eve"))
    copy = setup.leave("bob", known)
    command, outcome = Command(1, Acknowledge("bob", [known])), Outcome(1, Acknowledged([], [known]))
    assert dismiss_unknown_files([command], [outcome], setup.filing.unknown) == [outcome]
    assert copy.exists()


def test_clearing_a_mailbox_removes_its_unknown_files_in_slices(setup: ImportSetup) -> None:
    (known,) = setup.harness.send(draft("bob"))
    mail = [StoredMail(known, NOW_MS, draft("bob"))]
    assert setup.filing.file_mail(mail, 0.0) == {}
    for number in range(3):
        setup.leave("bob", ID + number)
    other = setup.leave("eve", ID)
    command = setup.harness.clearing("bob", known, limit=2)
    deleted: list[int] = []
    for is_left in (True, False):
        cleared = Outcome(command.id, Cleared([], known, has_more=False))
        (outcome,) = dismiss_unknown_files([command], [cleared], setup.filing.unknown)
        assert isinstance(outcome, Outcome)
        assert isinstance(outcome.result, Cleared)
        assert (outcome.result.has_more, outcome.result.through_id) == (is_left, known)
        deleted += outcome.result.message_ids
    assert deleted == [ID, ID + 1, ID + 2]
    assert setup.files.list_ids("bob") == {known}
    assert other.exists()


def test_a_clearing_that_goes_on_dismisses_nothing_yet(setup: ImportSetup) -> None:
    path = setup.leave("bob", ID)
    command = setup.harness.clearing("bob", ID)
    outcome = Outcome(command.id, Cleared([5], ID, has_more=True))
    assert dismiss_unknown_files([command], [outcome], setup.filing.unknown) == [outcome]
    assert path.exists()


def test_a_file_that_cannot_be_stored_is_left_out_and_the_others_are_imported(
    setup: ImportSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_ids = [ID + 2 * number for number in range(9)]
    for message_id in message_ids:
        setup.leave("bob", message_id)
    odd = message_ids[4]
    insert = setup.harness.store.import_mail

    def refuse_one(mail: list[StoredMail], now_ms: int) -> None:
        if any(message.id == odd for message in mail):
            raise KeyError("planted")
        insert(mail, now_ms)

    monkeypatch.setattr(setup.harness.store, "import_mail", refuse_one)
    setup.recover()
    assert setup.unread("bob") == [message_id for message_id in message_ids if message_id != odd]
    assert (setup.root / "inbox" / "bob" / f"{format_id(odd)}.json").exists()
