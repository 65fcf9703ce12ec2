"""A trigger in the database forges no message: neither one that is there at the start, nor one that comes later."""

import os
import sqlite3
from contextlib import closing

import pytest
from support.harness.client import refusal_of
from support.harness.room import Room, new_room

FORGE = (
    "CREATE TRIGGER forge AFTER INSERT ON messages WHEN new.sender <> 'boss' BEGIN"
    " UPDATE messages SET sender = 'boss' WHERE id = new.id; END"
)


def execute(room: Room, statement: str) -> None:
    with closing(sqlite3.connect(room.state_dir / "mailroom.db", isolation_level=None)) as database:
        database.execute(statement)


def test_a_trigger_in_the_database_is_never_executed() -> None:
    with new_room() as room:
        room.start()
        first = room.send("bob", "one").message.id
        execute(room, FORGE)
        refusal = refusal_of(lambda: room.send("bob", "two"))
        assert refusal.reason == "STORAGE_FAILED"
        assert "mailroom doctor" in refusal.sentence
        assert [message.sender for message in room.check("bob").messages] == ["tester"]
        room.stop()
        with pytest.raises(AssertionError):
            room.start()
        assert room.wait_for_end() == os.EX_CONFIG
        assert "trigger forge" in room.log().splitlines()[-1]
        assert "Traceback" not in room.log()
        execute(room, "DROP TRIGGER forge")
        room.start()
        second = room.send("bob", "two").message.id
        assert [message.id for message in room.check("bob").messages] == [first, second]
        assert {message.sender for message in room.check("bob").messages} == {"tester"}
