"""A damaged row costs one message its place on the streams: no file, no other message and no other mailbox."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mailroomd.model.ids import parse_id
from support.harness.command_line import home
from support.harness.deployment import Deployment, running_deployment

DOCTOR = Path(sys.executable).with_name("mailroom")
DAMAGE = ("state = 77", "state = 0", "state = 'x'", "metadata = 'nonsense'")


def damage(deployment: Deployment, change: str, *message_ids: str) -> None:
    """Changes rows of a daemon that is stopped."""
    with closing(sqlite3.connect(deployment.state_dir / "mailroom.db")) as database, database:
        database.executemany(
            f"UPDATE messages SET {change} WHERE id = ?",
            [(parse_id(message_id),) for message_id in message_ids],
        )


def doctor(deployment: Deployment) -> str:
    """Returns the report of the doctor without its line breaks, which may be inside an id."""
    command = [str(DOCTOR), "doctor", "--root", str(deployment.root), "--state-dir", str(deployment.state_dir)]
    env = os.environ | {"HOME": home()}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return "".join(done.stdout.split())


@pytest.mark.parametrize("change", DAMAGE)
def test_a_damaged_row_costs_no_file_and_no_other_message(change: str) -> None:
    with running_deployment() as deployment:
        first, damaged, last = deployment.fill("bob", 3)
        others = deployment.fill("amy", 2)
        read = deployment.fill("bob", 1)
        deployment.acknowledge("bob", read)
        deployment.stop()
        damage(deployment, change, damaged)
        for _ in range(2):  # the second start finds what the first has left
            deployment.start()
            assert deployment.filed("bob") == [first, damaged, last], deployment.log()
            assert [message.id for message in deployment.check("bob").messages] == [first, last]
            assert [message.id for message in deployment.check("amy").messages] == others
            assert deployment.stats("bob").unread == 3, "the damaged message still waits for its recipient"
            assert "damaged row set aside" in deployment.log()
            assert damaged in deployment.log()
            deployment.stop()
        assert damaged in doctor(deployment), "the doctor names it"
        deployment.start()
        assert json.loads(deployment.file_of("bob", damaged).read_bytes())["content"] == "mail 1"
        assert deployment.acknowledge("bob", [damaged]).acknowledged_ids == [damaged]
        assert deployment.filed("bob") == [first, last]
        assert deployment.stats("bob").unread == 2
        assert "Traceback" not in deployment.log()


def test_a_mailbox_full_of_damaged_rows_hides_no_older_mail() -> None:
    with running_deployment() as deployment:
        older = deployment.fill("bob", 2)
        damaged = deployment.fill("bob", 1500)
        deployment.stop()
        damage(deployment, "state = 77", *damaged)
        deployment.start()
        assert deployment.filed("bob") == [*older, *damaged]
        assert [message.id for message in deployment.check("bob", limit=1000).messages] == older
        assert [message.id for message in deployment.listed("bob")] == older[::-1]
        assert deployment.log().count("damaged row") < 400, "the log is bounded"


def test_a_damaged_row_whose_file_is_missing_is_not_taken_for_read() -> None:
    with running_deployment() as deployment:
        lost, kept = deployment.fill("bob", 2)
        deployment.stop()
        damage(deployment, "metadata = 'nonsense'", lost)
        with closing(sqlite3.connect(deployment.state_dir / "mailroom.db")) as database, database:
            database.execute("UPDATE meta SET value = 0 WHERE name = 'synced_id'")
        deployment.file_of("bob", lost).unlink()
        for _ in range(3):
            deployment.start()
            assert deployment.stats("bob").unread == 2
            assert [message.id for message in deployment.check("bob").messages] == [kept]
            deployment.stop()


def test_a_name_from_a_damaged_row_leads_nowhere() -> None:
    with running_deployment() as deployment:
        (stray,) = deployment.fill("bob", 1)
        others = deployment.fill("amy", 1)
        deployment.stop()
        damage(deployment, "recipient = '../../elsewhere'", stray)
        deployment.start()
        assert deployment.filed("bob") == [stray]
        assert not list(deployment.directory.glob("**/elsewhere"))
        assert [message.id for message in deployment.check("amy").messages] == others
