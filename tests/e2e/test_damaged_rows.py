"""A damaged row costs one message its place on the streams: no file, no other message and no other mailbox."""

import json
import sqlite3
from contextlib import closing

import pytest
from mailroomd.model.ids import parse_id
from support.harness.room import Room, running_room

DAMAGE = ("state = 77", "state = 0", "state = 'x'", "metadata = 'nonsense'")


def damage(room: Room, change: str, *message_ids: str) -> None:
    """Changes rows of a daemon that is stopped."""
    with closing(sqlite3.connect(room.state_dir / "mailroom.db")) as database, database:
        database.executemany(
            f"UPDATE messages SET {change} WHERE id = ?",
            [(parse_id(message_id),) for message_id in message_ids],
        )


@pytest.mark.parametrize("change", DAMAGE)
def test_a_damaged_row_costs_no_file_and_no_other_message(change: str) -> None:
    with running_room() as room:
        first, damaged, last = room.fill("bob", 3)
        others = room.fill("amy", 2)
        read = room.fill("bob", 1)
        room.acknowledge("bob", read)
        room.stop()
        damage(room, change, damaged)
        for _ in range(2):  # the second start finds what the first has left
            room.start()
            assert room.filed("bob") == [first, damaged, last], room.log()
            assert [message.id for message in room.check("bob").messages] == [first, last]
            assert [message.id for message in room.check("amy").messages] == others
            assert room.stats("bob").unread == 3, "the damaged message still waits for its recipient"
            assert "damaged row set aside" in room.log()
            assert damaged in room.log()
            room.stop()
        room.start()
        assert json.loads(room.file_of("bob", damaged).read_bytes())["content"] == "mail 1"
        assert room.acknowledge("bob", [damaged]).acknowledged_ids == [damaged]
        assert room.filed("bob") == [first, last]
        assert room.stats("bob").unread == 2
        assert "Traceback" not in room.log()


def test_a_mailbox_full_of_damaged_rows_hides_no_older_mail() -> None:
    with running_room() as room:
        older = room.fill("bob", 2)
        damaged = room.fill("bob", 1500)
        room.stop()
        damage(room, "state = 77", *damaged)
        room.start()
        assert room.filed("bob") == [*older, *damaged]
        assert [message.id for message in room.check("bob", limit=1000).messages] == older
        assert [message.id for message in room.listed("bob")] == older[::-1]
        assert room.log().count("damaged row") < 400, "the log is bounded"


def test_a_damaged_row_whose_file_is_missing_is_not_taken_for_read() -> None:
    with running_room() as room:
        lost, kept = room.fill("bob", 2)
        room.stop()
        damage(room, "metadata = 'nonsense'", lost)
        with closing(sqlite3.connect(room.state_dir / "mailroom.db")) as database, database:
            database.execute("UPDATE meta SET value = 0 WHERE name = 'synced_id'")
        room.file_of("bob", lost).unlink()
        for _ in range(3):
            room.start()
            assert room.stats("bob").unread == 2
            assert [message.id for message in room.check("bob").messages] == [kept]
            room.stop()


def test_a_name_from_a_damaged_row_leads_nowhere() -> None:
    with running_room() as room:
        (stray,) = room.fill("bob", 1)
        others = room.fill("amy", 1)
        room.stop()
        damage(room, "recipient = '../../elsewhere'", stray)
        room.start()
        assert room.filed("bob") == [stray]
        assert not list(room.directory.glob("**/elsewhere"))
        assert [message.id for message in room.check("amy").messages] == others
