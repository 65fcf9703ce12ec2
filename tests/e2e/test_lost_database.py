"""After the database was lost, or moved away as docs/operations.md recommends, unread mail is there and can be read."""

import json
import shutil

from mailroom.v1 import mailroom_pb2 as pb
from support.harness.deployment import running_deployment


def test_unread_mail_survives_the_loss_of_the_database_and_can_be_acknowledged() -> None:
    with running_deployment() as deployment:
        sent = deployment.send("bob", "old", sender="amy", metadata={"n": 1}, thread_id="t").message
        others = deployment.fill("bob", 3)
        deployment.stop()
        for part in deployment.state_dir.glob("mailroom.db*"):
            part.unlink()
        deployment.start()
        first, *rest = deployment.check("bob").messages
        assert first == sent
        assert [message.id for message in rest] == others
        newer = deployment.send("bob", "new").message.id
        assert newer > others[-1]
        assert deployment.acknowledge("bob", [sent.id, others[0]]).acknowledged_ids == [sent.id, others[0]]
        assert deployment.filed("bob") == [*others[1:], newer]
        assert deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent="bob")).deleted == 5
        assert deployment.filed("bob") == []


def test_a_file_that_the_database_does_not_know_can_be_acknowledged_or_cleared() -> None:
    with running_deployment() as deployment:
        ids = deployment.fill("bob", 3)
        shutil.copytree(deployment.inbox("bob"), deployment.directory / "kept")
        deployment.acknowledge("bob", ids)
        deployment.stop()
        for part in deployment.state_dir.glob("mailroom.db*"):
            part.unlink()
        deployment.start()
        deployment.send("eve")
        for path in (deployment.directory / "kept").iterdir():
            shutil.copy(path, deployment.inbox("bob"))
        done = deployment.acknowledge("bob", [ids[0], "0" * 16])
        assert (done.acknowledged_ids, done.unknown_ids) == ([ids[0]], ["0" * 16])
        assert deployment.filed("bob") == ids[1:]
        assert json.loads(deployment.file_of("bob", ids[1]).read_bytes())["id"] == ids[1]
        assert deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent="bob")).deleted == 2
        assert deployment.filed("bob") == []
        assert "Traceback" not in deployment.log()
