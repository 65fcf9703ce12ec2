"""No trigger, view or table of another program is executed by the daemon's writes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mailroomd.storage.database.connection import open_store
from mailroomd.storage.database.foreign_objects import ForeignObject
from mailroomd.storage.database.transactions import StoreFailed
from support.harness.storing import StoreHarness, draft
from support.harness.version_1 import VERSION_1
from support.harness.version_2 import VERSION_2

FORGE = (
    "CREATE TRIGGER forge AFTER INSERT ON messages WHEN new.sender <> 'boss' BEGIN"
    " UPDATE messages SET sender = 'boss' WHERE id = new.id; END"
)


def execute(directory: Path, *statements: str) -> None:
    """Changes a database as another program would."""
    with closing(sqlite3.connect(directory / "mailroom.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (FORGE, "trigger forge"),
        ("CREATE TRIGGER spy AFTER UPDATE ON meta BEGIN DELETE FROM messages; END", "trigger spy"),
        ("CREATE VIEW others AS SELECT * FROM messages", "view others"),
        ("CREATE TABLE notes (text)", "table notes"),
        ("CREATE VIRTUAL TABLE words USING fts5 (word)", "table words"),
        ("CREATE UNIQUE INDEX one_each ON messages (sender)", "unique index one_each"),
        ("create  unique\nindex one_each on messages (sender)", "unique index one_each"),
        ('CREATE VIEW "a\x1b[2J\u202eb" AS SELECT 1', r"view a\x1b[2J\u202eb"),
    ],
)
def test_a_database_with_a_foreign_object_is_refused_and_opens_once_it_is_dropped(
    tmp_path: Path, statement: str, name: str
) -> None:
    open_store(tmp_path).close()
    execute(tmp_path, statement)
    with pytest.raises(ForeignObject) as refusal:
        open_store(tmp_path)
    assert name in str(refusal.value)
    assert "drop it" in str(refusal.value)
    assert str(refusal.value).isprintable()
    with closing(sqlite3.connect(tmp_path / "mailroom.db")) as connection:
        (kind, foreign), *_ = connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE name IN"
            " ('forge', 'spy', 'others', 'notes', 'words', 'one_each') OR name LIKE 'a%b'"
        ).fetchall()
    execute(tmp_path, f'DROP {kind} "{foreign}"')
    open_store(tmp_path).close()


def test_what_cannot_change_a_message_is_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    execute(tmp_path, "CREATE INDEX mine ON messages (type)", "ANALYZE")
    open_store(tmp_path).close()


@pytest.mark.parametrize(("version", "schema"), [(1, VERSION_1), (2, VERSION_2)])
def test_an_upgrade_executes_no_trigger(tmp_path: Path, version: int, schema: str) -> None:
    with closing(sqlite3.connect(tmp_path / "mailroom.db", isolation_level=None)) as connection:
        connection.executescript(f"{schema}; PRAGMA user_version = {version};")
    execute(tmp_path, "CREATE TRIGGER spy AFTER UPDATE ON meta BEGIN DELETE FROM messages; END")
    with closing(sqlite3.connect(tmp_path / "mailroom.db")) as connection:
        before = list(connection.iterdump())
    with pytest.raises(ForeignObject, match="trigger spy"):
        open_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mailroom.db")) as connection:
        assert list(connection.iterdump()) == before


def test_a_trigger_that_is_made_while_the_daemon_runs_is_not_executed(harness: StoreHarness) -> None:
    (first,) = harness.send(draft(sender="amy"))
    execute(harness.state_dir, FORGE)
    with pytest.raises(StoreFailed, match="has a trigger"):
        harness.send(draft(sender="eve"))
    assert harness.rows("SELECT id, sender FROM messages") == [(first, "amy")]
    execute(harness.state_dir, "DROP TRIGGER forge")
    harness.send(draft(sender="eve"))
    assert harness.rows("SELECT sender FROM messages ORDER BY id") == [("amy",), ("eve",)]
