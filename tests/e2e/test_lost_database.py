"""After the database was lost, or moved away as docs/operations.md recommends, unread mail is there and can be read."""

import json
import shutil

from mailroom.v1 import mailroom_pb2 as pb
from support.harness.room import running_room


def test_unread_mail_survives_the_loss_of_the_database_and_can_be_acknowledged() -> None:
    with running_room() as room:
        sent = room.send("bob", "old", sender="amy", metadata={"n": 1}, thread_id="t").message
        others = room.fill("bob", 3)
        room.stop()
        for part in room.state_dir.glob("mailroom.db*"):
            part.unlink()
        room.start()
        first, *rest = room.check("bob").messages
        assert first == sent
        assert [message.id for message in rest] == others
        newer = room.send("bob", "new").message.id
        assert newer > others[-1]
        assert room.acknowledge("bob", [sent.id, others[0]]).acknowledged_ids == [sent.id, others[0]]
        assert room.filed("bob") == [*others[1:], newer]
        assert room.call("ClearMailbox", pb.ClearMailboxRequest(agent="bob")).deleted == 5
        assert room.filed("bob") == []


def test_a_file_that_the_database_does_not_know_can_be_acknowledged_or_cleared() -> None:
    with running_room() as room:
        ids = room.fill("bob", 3)
        shutil.copytree(room.inbox("bob"), room.directory / "kept")
        room.acknowledge("bob", ids)
        room.stop()
        for part in room.state_dir.glob("mailroom.db*"):
            part.unlink()
        room.start()
        room.send("eve")
        for path in (room.directory / "kept").iterdir():
            shutil.copy(path, room.inbox("bob"))
        done = room.acknowledge("bob", [ids[0], "0" * 16])
        assert (done.acknowledged_ids, done.unknown_ids) == ([ids[0]], ["0" * 16])
        assert room.filed("bob") == ids[1:]
        assert json.loads(room.file_of("bob", ids[1]).read_bytes())["id"] == ids[1]
        assert room.call("ClearMailbox", pb.ClearMailboxRequest(agent="bob")).deleted == 2
        assert room.filed("bob") == []
        assert "Traceback" not in room.log()
