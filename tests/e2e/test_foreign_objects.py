"""A trigger in the database forges no message: neither one that is there at the start, nor one that comes later."""

import os
import sqlite3
from contextlib import closing

import pytest
from support.harness.client import refusal_of
from support.harness.deployment import Deployment, new_deployment

FORGE = (
    "CREATE TRIGGER forge AFTER INSERT ON messages WHEN new.sender <> 'boss' BEGIN"
    " UPDATE messages SET sender = 'boss' WHERE id = new.id; END"
)


def execute(deployment: Deployment, statement: str) -> None:
    with closing(sqlite3.connect(deployment.state_dir / "mailroom.db", isolation_level=None)) as database:
        database.execute(statement)


def test_a_trigger_in_the_database_is_never_executed() -> None:
    with new_deployment() as deployment:
        deployment.start()
        first = deployment.send("bob", "one").message.id
        execute(deployment, FORGE)
        refusal = refusal_of(lambda: deployment.send("bob", "two"))
        assert refusal.reason == "STORAGE_FAILED"
        assert "mailroom doctor" in refusal.sentence
        assert [message.sender for message in deployment.check("bob").messages] == ["tester"]
        deployment.stop()
        with pytest.raises(AssertionError):
            deployment.start()
        assert deployment.wait_for_end() == os.EX_CONFIG
        assert "trigger forge" in deployment.log().splitlines()[-1]
        assert "Traceback" not in deployment.log()
        execute(deployment, "DROP TRIGGER forge")
        deployment.start()
        second = deployment.send("bob", "two").message.id
        assert [message.id for message in deployment.check("bob").messages] == [first, second]
        assert {message.sender for message in deployment.check("bob").messages} == {"tester"}
