"""A database of any older version is upgraded with all its content; a newer one is left alone."""

import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.model.announcement import Receipt
from mailroomd.model.ids import MAX_ID, MS_SHIFT
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import MailFiled
from mailroomd.protocol.operations import Sent
from mailroomd.protocol.packets import Outcome
from mailroomd.protocol.reports import MailboxCounted
from mailroomd.storage.database import schema
from mailroomd.storage.database.connection import DatabaseTooNew, open_store
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.schema import SCHEMA_VERSION
from support.harness.storing import FIRST_ID, NOW_MS, StoreHarness, answers, counted, draft, recounted
from support.harness.version_1 import VERSION_1
from support.harness.version_2 import VERSION_2
from support.harness.version_3 import VERSION_3
from support.harness.version_4 import VERSION_4

READ, FILED, STORED = DeliveryState.READ, DeliveryState.FILED, DeliveryState.STORED

CONTENTS = ["read by now", "the build is green", "has no file yet"]
MESSAGE_IDS = [FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3]  # in version 1 a message had one id


def make_version_1(state_dir: Path) -> None:
    """Makes a database as its daemon left it: three messages of one mailbox, and a mailbox without any."""
    old = sqlite3.connect(state_dir / "mailroom.db", isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(VERSION_1)
    old.executemany(
        "INSERT INTO messages (id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority,"
        " ttl_ms, timestamp_ms, state, filed_ms, read_ms, file_error)"
        " VALUES (?, 'abc', 'x', ?, 'text', '{}', 't', 0, 2, 0, ?, ?, 1, ?, ?)",
        [
            (message_id, content, NOW_MS, state.value, NOW_MS if state is READ else 0, "why" if state is STORED else "")
            for message_id, content, state in zip(MESSAGE_IDS, CONTENTS, (READ, FILED, STORED), strict=True)
        ],
    )
    old.execute("INSERT INTO mailboxes VALUES ('abc', 3, 2, 7), ('empty', 0, 0, 9)")
    old.execute(f"UPDATE meta SET value = {MESSAGE_IDS[-1]}")
    old.execute("INSERT INTO meta VALUES ('root', 77)")
    old.execute(f"INSERT INTO request_keys VALUES ('own', {MESSAGE_IDS[0]})")
    old.close()


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[StoreHarness]:
    """A harness at a database that was of version 1."""
    make_version_1(tmp_path)
    made = StoreHarness(tmp_path)
    made.last_id = MESSAGE_IDS[-1]
    yield made
    made.store.close()


def test_everything_of_a_version_1_database_is_there_under_the_new_version(migrated: StoreHarness) -> None:
    archive = MessageArchive(migrated.state_dir)
    found = archive.after("abc", 0, MAX_ID, 10)
    assert [(message.id, message.draft.content, message.state) for message in found] == list(
        zip(MESSAGE_IDS, CONTENTS, (READ, FILED, STORED), strict=True)
    )
    assert [tuple(row) for row in archive.mailboxes()] == [("abc", 3, 2, MESSAGE_IDS[1], 7), ("empty", 0, 0, 0, 9)]
    assert [migrated.store.mark(name) for name in ("last_id", "synced_id", "root")] == [
        MESSAGE_IDS[-1],
        MESSAGE_IDS[-1],
        77,
    ]
    assert migrated.store.files.unfiled() == [("abc", MESSAGE_IDS[2])]
    assert [message.id for message in archive.before(None, MAX_ID, 9, thread_id="t")] == MESSAGE_IDS[::-1]
    assert migrated.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert migrated.rows("PRAGMA integrity_check") == [("ok",)]
    archive.close()


def test_the_messages_of_a_version_1_database_are_found_by_their_words(migrated: StoreHarness) -> None:
    archive = MessageArchive(migrated.state_dir)
    for _ in range(2):
        assert [message.id for message in archive.before("abc", MAX_ID, 9, query="green build")] == [MESSAGE_IDS[1]]
        while migrated.store.index_more():
            pass
    migrated.store.delete_ended(NOW_MS + 1, 10, NOW_MS)
    assert list(archive.before("abc", MAX_ID, 9, query="read by now")) == []
    archive.close()


def test_messages_of_version_1_have_no_first_receipts(migrated: StoreHarness) -> None:
    archive = MessageArchive(migrated.state_dir)
    assert list(archive.receipts(None, 0, MAX_ID, 10)) == []
    filed = migrated.sequenced(MailFiled((MESSAGE_IDS[2],)))
    migrated.commit(filed)
    assert archive.receipts(None, 0, MAX_ID, 10) == [Receipt(filed.id, "x", MESSAGE_IDS[2], "abc", FILED, NOW_MS)]
    archive.close()


def test_mail_goes_on_after_the_upgrade(migrated: StoreHarness) -> None:
    again, fresh = migrated.message(draft(), "own", resubmitted=True), migrated.message(draft())
    outcomes = migrated.commit(again, fresh)
    assert answers(outcomes) == [
        Outcome(again.id, Sent(MESSAGE_IDS[0], NOW_MS, READ, "abc", is_repeated=True, first_verified=False)),
        migrated.sent(fresh),
    ]
    assert counted(outcomes) == recounted(migrated) == {"abc": (4, 3, MESSAGE_IDS[1])}
    done = migrated.commit(migrated.clearing("abc", migrated.last_id))
    assert MailboxCounted("abc", 0, 0, 0) in done


def objects(connection: sqlite3.Connection) -> dict[str, object]:
    """Returns each table's columns, in any order, and the definition of everything else."""
    found: dict[str, object] = {}
    for name, kind, sql in connection.execute("SELECT name, type, sql FROM sqlite_schema").fetchall():
        columns = connection.execute(f"PRAGMA table_info('{name}')").fetchall()
        found[name] = sorted(column[1:] for column in columns) if kind == "table" else re.sub(r"\s+", " ", str(sql))
    return found


def test_a_database_that_was_upgraded_has_the_same_tables_and_indexes_as_a_new_one(
    migrated: StoreHarness, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = StoreHarness(tmp_path / "new")
    assert objects(migrated.connection) == objects(new.connection)
    new.store.close()


def make_version_2(state_dir: Path) -> None:
    """Makes a database as its daemon left it: two messages, the first of them indexed, and a key of each."""
    old = sqlite3.connect(state_dir / "mailroom.db", isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(VERSION_2)
    old.executemany(
        "INSERT INTO messages (id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority,"
        " ttl_ms, timestamp_ms, state, filed_id, filed_ms)"
        " VALUES (?, 'abc', 'x', ?, 'text', '{}', 't', 0, 2, 0, ?, 4, ?, 1)",
        [
            (first, text, NOW_MS, first + 1)
            for first, text in zip(MESSAGE_IDS[::2], ("修复登录错误", "plain"), strict=True)
        ],
    )
    old.execute("INSERT INTO search (rowid, mailbox, content) SELECT id, mailbox, content FROM searchable LIMIT 1")
    old.execute(f"UPDATE meta SET value = {MESSAGE_IDS[0]} WHERE name = 'indexed_id'")
    old.execute(f"UPDATE meta SET value = {MESSAGE_IDS[2] + 1} WHERE name IN ('last_id', 'synced_id')")
    old.execute("INSERT INTO mailboxes VALUES ('abc', 2, 0, 7)")
    keys = [("now", MESSAGE_IDS[0]), ("ahead", MAX_ID)]
    old.executemany("INSERT INTO idempotency_keys VALUES ('x', ?, ?, x'00')", keys)
    old.close()


@pytest.fixture
def from_version_2(tmp_path: Path) -> Iterator[StoreHarness]:
    make_version_2(tmp_path)
    made = StoreHarness(tmp_path)
    made.last_id = MESSAGE_IDS[2] + 1
    yield made
    made.store.close()


def test_a_version_2_database_has_the_same_tables_and_indexes_as_a_new_one(
    from_version_2: StoreHarness, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = StoreHarness(tmp_path / "new")
    assert objects(from_version_2.connection) == objects(new.connection)
    new.store.close()


def test_the_index_of_a_version_2_database_is_filled_again_with_single_characters(from_version_2: StoreHarness) -> None:
    archive = MessageArchive(from_version_2.state_dir)
    for _ in range(2):
        assert [message.id for message in archive.before("abc", MAX_ID, 9, query="登录")] == [MESSAGE_IDS[0]]
        while from_version_2.store.index_more():
            pass
    from_version_2.store.delete_ended(NOW_MS + 1, 10, NOW_MS)
    assert list(archive.before("abc", MAX_ID, 9, query="登录")) == []
    assert from_version_2.rows("SELECT rowid FROM search WHERE search MATCH 'plain'") == []
    archive.close()


def test_the_keys_of_a_version_2_database_get_times_that_are_not_in_the_future(from_version_2: StoreHarness) -> None:
    times = dict(from_version_2.rows("SELECT key, used_ms FROM idempotency_keys"))
    assert times["now"] == min(MESSAGE_IDS[0] >> MS_SHIFT, times["ahead"])
    assert times["ahead"] <= time.time() * 1000


def make_version_3(state_dir: Path) -> None:
    """Makes a database as its daemon left it: an unread message, with the key that its sender gave."""
    old = sqlite3.connect(state_dir / "mailroom.db", isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(VERSION_3)
    old.execute(
        "INSERT INTO messages (id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority,"
        " ttl_ms, timestamp_ms, state, filed_id, filed_ms, verified)"
        " VALUES (?, 'bob', 'amy', 'go', 'text', '{}', '', 0, 2, 0, ?, 2, ?, ?, 1)",
        (MESSAGE_IDS[0], NOW_MS, MESSAGE_IDS[0] + 1, NOW_MS),
    )
    old.execute("INSERT INTO mailboxes VALUES ('bob', 1, 1, 7)")
    digest = bytes.fromhex("ce5052ca6052fa411694144f6fc10760")  # that version's, of this request
    old.execute("INSERT INTO idempotency_keys VALUES ('amy', 'k', ?, ?, ?)", (MESSAGE_IDS[0], digest, NOW_MS))
    old.execute(f"UPDATE meta SET value = {MESSAGE_IDS[0] + 1} WHERE name IN ('last_id', 'synced_id')")
    old.close()


@pytest.fixture
def from_version_3(tmp_path: Path) -> Iterator[StoreHarness]:
    make_version_3(tmp_path)
    made = StoreHarness(tmp_path)
    made.last_id = MESSAGE_IDS[0] + 1
    yield made
    made.store.close()


def test_a_version_3_database_has_the_same_tables_and_indexes_as_a_new_one(
    from_version_3: StoreHarness, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = StoreHarness(tmp_path / "new")
    assert objects(from_version_3.connection) == objects(new.connection)
    new.store.close()


def test_a_message_of_version_3_has_no_deadline_and_is_recognized_by_its_key(from_version_3: StoreHarness) -> None:
    again = from_version_3.message(Draft("bob", "amy", "go"), "k", client_key=True)
    assert answers(from_version_3.commit(again)) == [
        Outcome(again.id, Sent(MESSAGE_IDS[0], NOW_MS, FILED, "bob", is_repeated=True, first_verified=True))
    ]
    archive = MessageArchive(from_version_3.state_dir)
    (found,) = archive.after("bob", 0, MAX_ID, 10)
    assert found.draft == Draft("bob", "amy", "go", verified=True)
    archive.close()
    assert from_version_3.store.next_deadline_ms() is None
    from_version_3.send(Draft("bob", "amy", "go", reply_by_ms=NOW_MS + 5))
    assert from_version_3.store.next_deadline_ms() == NOW_MS + 5


def make_version_4(state_dir: Path) -> None:
    """Makes a database as its daemon left it: a message that was read, and its receipt."""
    old = sqlite3.connect(state_dir / "mailroom.db", isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(VERSION_4)
    old.execute(
        "INSERT INTO messages (id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority,"
        " ttl_ms, timestamp_ms, state, filed_id, filed_ms, read_ms)"
        " VALUES (?, 'bob', 'amy', 'go', 'text', '{}', '', 0, 2, 0, ?, 4, ?, ?, ?)",
        (MESSAGE_IDS[0], NOW_MS, MESSAGE_IDS[0] + 1, NOW_MS, NOW_MS),
    )
    old.execute("INSERT INTO receipts VALUES (?, 'amy', ?, 'bob', 4, ?)", (MESSAGE_IDS[2], MESSAGE_IDS[0], NOW_MS))
    old.execute("INSERT INTO mailboxes VALUES ('bob', 1, 0, 7)")
    old.execute(f"UPDATE meta SET value = {MESSAGE_IDS[2]} WHERE name IN ('last_id', 'synced_id')")
    old.close()


@pytest.fixture
def from_version_4(tmp_path: Path) -> Iterator[StoreHarness]:
    make_version_4(tmp_path)
    made = StoreHarness(tmp_path)
    made.last_id = MESSAGE_IDS[2]
    yield made
    made.store.close()


def test_a_version_4_database_has_the_same_tables_and_indexes_as_a_new_one(
    from_version_4: StoreHarness, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = StoreHarness(tmp_path / "new")
    assert objects(from_version_4.connection) == objects(new.connection)
    new.store.close()


def test_what_was_read_in_version_4_was_read_by_its_recipient(from_version_4: StoreHarness) -> None:
    archive = MessageArchive(from_version_4.state_dir)
    history = archive.history(MESSAGE_IDS[0])
    assert history is not None
    assert (history.message.state, history.acknowledged_by) == (READ, "")
    assert archive.receipts(None, MESSAGE_IDS[1], MAX_ID, 10) == [
        Receipt(MESSAGE_IDS[2], "amy", MESSAGE_IDS[0], "bob", READ, NOW_MS)
    ]
    archive.close()
    (sent,) = from_version_4.send(Draft("bob", "amy", "again"))
    from_version_4.commit(from_version_4.reading("bob", sent, by="ops"))
    assert from_version_4.rows("SELECT acknowledged_by FROM messages ORDER BY id") == [("",), ("ops",)]


def test_an_upgrade_that_fails_half_way_changes_nothing_and_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version_1(tmp_path)

    def dumped() -> list[str]:
        with sqlite3.connect(tmp_path / "mailroom.db") as connection:
            lines = [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]
        connection.close()
        return lines

    before = dumped()
    steps = getattr(schema, "_STEPS")  # noqa: B009 - private, and the only way to make it fail half way
    monkeypatch.setitem(steps, 1, steps[1] + "CREATE TABLE meta (again);")
    with pytest.raises(sqlite3.OperationalError, match="meta already exists"):
        open_store(tmp_path)
    assert dumped() == before
    monkeypatch.undo()
    open_store(tmp_path).close()
    assert dumped()[-1] == f"({SCHEMA_VERSION},)"


def test_a_long_upgrade_beats_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_version_1(tmp_path)
    monkeypatch.setattr(schema, "BEAT_EVERY_STEPS", 10)
    beats: list[int] = []
    open_store(tmp_path, lambda: beats.append(1)).close()
    assert len(beats) > 3
    beats.clear()
    open_store(tmp_path, lambda: beats.append(1)).close()
    assert beats == [], "there was nothing to bring up to date"


def test_a_database_of_a_newer_daemon_is_refused_with_advice(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "mailroom.db")
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    before = (tmp_path / "mailroom.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match="install the newer mailroomd again"):
        StoreHarness(tmp_path)
    assert (tmp_path / "mailroom.db").read_bytes() == before
