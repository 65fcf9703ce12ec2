"""A restored backup is data: its rows are checked and copied, everything else of it stays behind."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mailroomd.core.validation import check_draft
from mailroomd.model.clock import LATEST_MS
from mailroomd.model.ids import MAX_ID
from mailroomd.model.limits import MAX_CONTENT_BYTES, MAX_METADATA_BYTES, MAX_THREAD_ID_BYTES, MAX_TTL_MS
from mailroomd.model.message import Draft, Priority
from mailroomd.protocol.local_events import MailOverdue, ResponseLeft
from mailroomd.protocol.packets import NoteSeen
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.restore import REFUSED_NAME, take_restored
from support.harness.storing import NOW_MS, StoreHarness, draft, recounted
from support.harness.version_1 import VERSION_1
from support.harness.version_2 import VERSION_2


def no_beat() -> None:
    pass


class Shop:
    """A state directory with mail, and a backup of it at some moment."""

    def __init__(self, directory: Path) -> None:
        self.state_dir = directory / "state"
        self.state_dir.mkdir()
        self.backup = directory / "backup.db"
        self.harness = StoreHarness(self.state_dir)
        read, unread = self.harness.send(draft("bob", "read"), draft("bob", "unread"))
        self.harness.commit(
            self.harness.reading("bob", read),
            self.harness.message(draft("bob", "keyed"), "k", client_key=True),
            self.harness.sequenced(ResponseLeft("s1", "a.json", "1:2", b'{"n":1}'), "bob"),
            self.harness.aliasing("s1", "bob", NOW_MS + 1000),
            NoteSeen("amy", NOW_MS),
        )
        self.old_ids = [read, unread]
        self.take_backup()

    def take_backup(self) -> None:
        with closing(sqlite3.connect(self.backup)) as copy:
            self.harness.connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")

    def change_backup(self, script: str) -> None:
        with closing(sqlite3.connect(self.backup, isolation_level=None)) as connection:
            connection.executescript(script)

    def restore(self) -> bool:
        """Stages the backup and starts the store again; returns whether it was restored."""
        self.harness.store.close()
        staging = self.state_dir / "restore"
        staging.mkdir()
        shutil.copy(self.backup, staging / "mailroom.db")
        is_restored = take_restored(self.state_dir, no_beat)
        assert not staging.exists()
        table, last_id = self.harness.table, self.harness.last_id
        self.harness = StoreHarness(self.state_dir)
        self.harness.table, self.harness.last_id = table, last_id
        return is_restored

    def contents(self) -> list[str]:
        with closing(MessageArchive(self.state_dir)) as archive:
            return [message.draft.content for message in archive.after("bob", 0, MAX_ID, 100)]


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    made = Shop(tmp_path)
    yield made
    made.harness.store.close()


def objects(connection: sqlite3.Connection) -> set[Any]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def test_a_backup_comes_back_with_newer_mail_counts_keys_and_responses(shop: Shop) -> None:
    shop.harness.commit(shop.harness.clearing("bob", shop.harness.last_id))
    shop.harness.send(draft("bob", "newer"))
    last_id = shop.harness.store.mark("last_id")
    assert shop.restore()
    assert shop.contents() == ["read", "unread", "keyed", "newer"]
    assert shop.harness.store.mark("last_id") == last_id
    assert shop.harness.store.mark("synced_id") == 0, "missing files are written again, not taken for read"
    assert shop.harness.rows("SELECT name, total, unread, last_seen_ms FROM mailboxes ORDER BY name") == [
        ("amy", 0, 0, NOW_MS),
        ("bob", 4, 3, 0),
    ]
    assert recounted(shop.harness)["bob"][:2] == (4, 3)
    again = shop.harness.message(draft("bob", "keyed"), "k", client_key=True)
    assert shop.harness.result(again).mail == [], "its key is known"
    assert shop.harness.rows("SELECT body FROM responses") == [('{"n":1}',)]
    while shop.harness.store.index_more():
        pass
    with closing(MessageArchive(shop.state_dir)) as archive:
        assert [message.draft.content for message in archive.before("bob", MAX_ID, 9, query="newer")] == ["newer"]
    (kept,) = shop.state_dir.glob("mailroom.db.replaced-*")
    assert kept.exists()


def test_a_message_at_every_limit_of_the_contract_comes_back(shop: Shop) -> None:
    largest = Draft(
        recipient="b" * 64,
        sender="a" * 64,
        content="\0" * MAX_CONTENT_BYTES,
        type="t" * MAX_THREAD_ID_BYTES,
        metadata=b'{"a":"' + b"x" * (MAX_METADATA_BYTES - 8) + b'"}',
        thread_id="t" * MAX_THREAD_ID_BYTES,
        in_reply_to=MAX_ID,
        priority=Priority.URGENT,
        ttl_ms=MAX_TTL_MS,
        reply_by_ms=LATEST_MS + MAX_TTL_MS,
    )
    check_draft(largest)
    (message_id,) = shop.harness.send(largest)
    shop.take_backup()
    assert shop.restore()
    with closing(MessageArchive(shop.state_dir)) as archive:
        (kept,) = archive.after(largest.recipient, 0, MAX_ID, 2)
    assert (kept.id, kept.draft) == (message_id, largest)


def test_triggers_views_and_further_tables_of_a_backup_stay_behind(shop: Shop) -> None:
    before = objects(shop.harness.connection)
    shop.change_backup(
        "CREATE TRIGGER forge AFTER INSERT ON messages BEGIN"
        " UPDATE messages SET sender = 'boss', verified = 1 WHERE id = new.id; END;"
        "CREATE TRIGGER lose AFTER UPDATE ON messages BEGIN DELETE FROM messages WHERE id = old.id; END;"
        "CREATE TABLE more (x); CREATE VIEW another AS SELECT 1; CREATE INDEX slow ON messages (content);"
        "CREATE VIEW searchable AS"
        " WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x, x FROM n;"
    )
    assert shop.restore()
    assert objects(shop.harness.connection) == before
    (sent,) = shop.harness.send(draft("bob", "pay", sender="eve"))
    shop.harness.commit(shop.harness.reading("bob", sent))
    assert shop.harness.rows("SELECT sender, verified FROM messages WHERE id = ?", sent) == [("eve", 0)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE messages SET metadata = '[1'",
        "UPDATE messages SET state = 77",
        "UPDATE messages SET state = 0",
        "UPDATE messages SET content = x'00'",
        "UPDATE messages SET content = CAST(x'ff' AS TEXT)",
        "UPDATE messages SET recipient = '../x'",
        "UPDATE messages SET priority = 99",
        "UPDATE messages SET timestamp_ms = 9000000000000000000",
        "UPDATE messages SET ttl_ms = -1",
        "UPDATE messages SET read_ms = 'soon'",
        "UPDATE messages SET id = -5 WHERE id = (SELECT min(id) FROM messages)",
        "UPDATE messages SET id = 9223372036854775807 WHERE id = (SELECT max(id) FROM messages)",
        "UPDATE meta SET value = 9223372036854775807 WHERE name = 'last_id'",
        "UPDATE meta SET value = -1 WHERE name = 'last_id'",
        "DELETE FROM meta",
        "DROP TABLE meta",
        "UPDATE responses SET body = '[]'",
        "UPDATE responses SET state = 9",
        "UPDATE idempotency_keys SET digest = 'text'",
        "UPDATE mailboxes SET name = 'a/b' WHERE name = 'amy'",
        "INSERT INTO cleared_files VALUES (5, '../../etc')",
        "INSERT INTO deadlines VALUES (5, 'amy', 'bob', -1)",
        "INSERT INTO deadlines VALUES (5, 'amy', '../bob', 1)",
        "INSERT INTO receipts VALUES (5, 'a', 'b', 'c', 2, 1, '', '')",
        "UPDATE receipts SET reason = x'00'",
        "ALTER TABLE receipts RENAME TO r; CREATE VIEW receipts AS SELECT * FROM r",
        "ALTER TABLE messages DROP COLUMN offered_ms",
        "PRAGMA user_version = 99",
        "PRAGMA user_version = 0",
    ],
)
def test_a_backup_with_damage_is_set_aside_and_the_database_stays(
    shop: Shop, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.change_backup(damage)
    before = shop.harness.rows("SELECT * FROM messages"), objects(shop.harness.connection)
    assert not shop.restore()
    assert (shop.harness.rows("SELECT * FROM messages"), objects(shop.harness.connection)) == before
    assert (shop.state_dir / REFUSED_NAME).is_dir()
    assert not list(shop.state_dir.glob("mailroom.db.replaced-*"))
    assert "backup not restored, database unchanged" in capfd.readouterr().err


@pytest.mark.parametrize("damage", ["no database", "", "truncated"])
def test_a_file_that_is_not_a_database_is_set_aside(shop: Shop, damage: str) -> None:
    raw = shop.backup.read_bytes()
    shop.backup.write_bytes(raw[: len(raw) // 2] if damage == "truncated" else damage.encode())
    assert not shop.restore()
    assert shop.contents() == ["read", "unread", "keyed"]


def test_a_deadline_of_the_backup_is_open_unless_it_was_settled_since(shop: Shop) -> None:
    questions = [msgspec.structs.replace(draft("bob", sender="amy"), reply_by_ms=NOW_MS + 1000) for _ in range(4)]
    answered, reported, still_open = shop.harness.send(*questions[:3])
    shop.take_backup()
    (newer,) = shop.harness.send(questions[3])
    shop.harness.send(msgspec.structs.replace(draft("amy", sender="bob"), in_reply_to=answered))
    shop.harness.commit(shop.harness.sequenced(MailOverdue((reported,))))
    assert shop.restore()
    assert shop.harness.rows("SELECT id FROM deadlines ORDER BY id") == [(still_open,), (newer,)]


def test_an_alias_that_ended_after_the_backup_stays_ended(shop: Shop) -> None:
    shop.harness.commit(shop.harness.aliasing("s1", "", 0), shop.harness.aliasing("s2", "eve", NOW_MS))
    assert shop.restore()
    assert shop.harness.rows("SELECT session, agent FROM aliases") == [("s2", "eve")]


def test_an_alias_that_moved_after_the_backup_stays_with_its_new_agent(shop: Shop) -> None:
    shop.harness.commit(shop.harness.aliasing("s1", "alice", NOW_MS + 9))
    assert shop.restore()
    assert shop.harness.rows("SELECT session, agent FROM aliases") == [("s1", "alice")]


def test_without_a_present_database_the_backup_brings_everything_back(shop: Shop) -> None:
    shop.harness.store.close()
    for path in shop.state_dir.glob("mailroom.db*"):
        path.unlink()
    assert shop.restore()
    assert shop.contents() == ["read", "unread", "keyed"]
    assert shop.harness.rows("SELECT session, agent FROM aliases") == [("s1", "bob")]


@pytest.mark.parametrize(("schema", "filed_id"), [(VERSION_1, -1), (VERSION_2, 0)])
def test_a_backup_of_an_older_version_is_restored(shop: Shop, schema: str, filed_id: int) -> None:
    shop.backup.unlink()
    shop.change_backup(schema)
    shop.change_backup(
        "INSERT INTO messages (id, recipient, sender, content, type, metadata, thread_id, in_reply_to, priority,"
        " ttl_ms, timestamp_ms, state) VALUES (5, 'bob', 'amy', 'ancient', 'text', '{}', '', 0, 2, 0, 1, 2);"
        "UPDATE meta SET value = 5 WHERE name = 'last_id';"
        "INSERT INTO idempotency_keys VALUES ('amy', 'old', 5 << 20, x'00112233445566778899aabbccddeeff')"
    )
    assert shop.restore()
    assert shop.contents() == ["ancient", "read", "unread", "keyed"]
    assert shop.harness.rows("SELECT filed_id FROM messages WHERE id = 5") == [(filed_id,)]
    assert shop.harness.rows("SELECT used_ms FROM idempotency_keys WHERE key = 'old'") == [(5,)]


def fail_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the n-th rename of a file fail."""
    real, calls = Path.replace, [0]

    def replace(path: Path, target: Any) -> Path:
        calls[0] += 1
        if calls[0] == call:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_rename_that_fails_leaves_the_database_in_place(
    shop: Shop, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.harness.store.close()
    (shop.state_dir / "restore").mkdir()
    shutil.copy(shop.backup, shop.state_dir / "restore/mailroom.db")
    fail_at(call, monkeypatch)
    take_restored(shop.state_dir, no_beat)
    monkeypatch.undo()
    shop.harness = StoreHarness(shop.state_dir)
    assert shop.contents() == ["read", "unread", "keyed"]


def interrupt(*_: object, **_named: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["_swap", "_rename_with_log", "copy_rows"])
def test_a_restore_that_is_interrupted_is_finished_by_the_next_start(
    shop: Shop, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.harness.commit(shop.harness.clearing("bob", shop.harness.last_id))
    shop.harness.send(draft("bob", "newer"))
    shop.harness.store.close()
    (shop.state_dir / "restore").mkdir()
    shutil.copy(shop.backup, shop.state_dir / "restore/mailroom.db")
    monkeypatch.setattr(f"mailroomd.storage.database.restore.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        take_restored(shop.state_dir, no_beat)
    monkeypatch.undo()
    assert take_restored(shop.state_dir, no_beat)
    shop.harness = StoreHarness(shop.state_dir)
    assert shop.contents() == ["read", "unread", "keyed", "newer"]


def test_a_staging_directory_that_cannot_be_read_does_not_stop_the_start(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As after `sudo mailroom restore`: the directory belongs to root, mode 0700."""
    staging, real = shop.state_dir / "restore", Path.exists

    def exists(path: Path) -> bool:
        if staging in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "exists", exists)
    assert not shop.restore()
    assert shop.contents() == ["read", "unread", "keyed"]
    assert "Permission denied" in capfd.readouterr().err


def test_a_damaged_present_database_is_named_and_left_alone(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    (sent,) = shop.harness.send(draft("bob", "newer"))
    shop.harness.rows("UPDATE messages SET state = 77 WHERE id = ?", sent)
    assert not shop.restore()
    assert "the present database cannot be read" in capfd.readouterr().err


def every_beat(beats: list[int]) -> Callable[[], None]:
    return lambda: beats.append(1)


def test_a_long_restore_beats_as_it_goes(shop: Shop) -> None:
    shop.harness.store.close()
    (shop.state_dir / "restore").mkdir()
    shutil.copy(shop.backup, shop.state_dir / "restore/mailroom.db")
    beats: list[int] = []
    assert take_restored(shop.state_dir, every_beat(beats))
    assert len(beats) > 3
