"""An import restores exported messages; repeating it creates no duplicates."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mailroom import Mailroom
from support.harness.daemon import Daemon


def run(daemon: Daemon, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mailroom")), "--address", daemon.address, *words]
    return subprocess.run(command, capture_output=True, text=True, input=given, timeout=100, check=False)


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_import_restores_everything_except_ids_and_times(daemon: Daemon) -> None:
    with Mailroom(daemon.address, sender="ana") as client:
        first = client.send("out", "first", metadata={"n": [1, {"deep": None}]}, thread_id="t", priority="high")
        client.send("out", "second", in_reply_to=first.id, type="diff", ttl=3600)
        client.acknowledge("out", first.id)
        exported = run(daemon, "export", "out").stdout
        client.clear("out")
        done = run(daemon, "import", "-", given=exported)
        assert done.stdout == "2 of 2 messages imported\n"
    again = run(daemon, "export", "out").stdout
    fields = ("recipient", "sender", "content", "type", "metadata", "thread_id", "in_reply_to", "priority", "read")
    before, after = ([[message[name] for name in fields] for message in records(text)] for text in (exported, again))
    assert after == before
    assert [message["content"] for message in records(again)] == ["second", "first"]
    assert [bool(message["expires_at"]) for message in records(again)] == [True, False]
    assert run(daemon, "import", "-", given=exported).returncode == 0
    assert run(daemon, "export", "out").stdout == again


def test_messages_of_two_daemons_with_one_id_are_both_imported(daemon: Daemon) -> None:
    with Mailroom(daemon.address, sender="ana") as client:
        client.send("twin", "of the first daemon")
        first = run(daemon, "export", "twin").stdout
        client.clear("twin")
    (message,) = records(first)
    second = json.dumps({**message, "content": "of the second daemon"})
    for _ in range(2):
        assert run(daemon, "import", "-", given=first).stdout == "1 of 1 messages imported\n"
        assert run(daemon, "import", "-", given=second).stdout == "1 of 1 messages imported\n"
    contents = [message["content"] for message in records(run(daemon, "export", "twin").stdout)]
    assert contents == ["of the second daemon", "of the first daemon"]


def test_filters_select_the_exported_messages(daemon: Daemon) -> None:
    with Mailroom(daemon.address, sender="ana") as client:
        one, two, three = (client.send("some", text, thread_id=text) for text in ("alpha", "beta", "gamma"))
        client.acknowledge("some", one.id)
        client.send("other", "alpha")

    def contents(*words: str) -> list[object]:
        return [record["content"] for record in records(run(daemon, "export", *words).stdout)]

    assert contents("some", "other") == ["gamma", "beta", "alpha", "alpha"]
    assert contents("some", "--unread") == ["gamma", "beta"]
    assert contents("some", "--after", two.id) == ["gamma"]
    assert contents("some", "--thread", "beta") == ["beta"]
    assert contents("--query", "gamm*", "some") == ["gamma"]
    assert three.id > two.id


def test_refused_messages_are_reported_and_the_others_imported(daemon: Daemon) -> None:
    good = {"id": "0" * 15 + "1", "recipient": "part", "sender": "ana", "content": "good"}
    bad = {"id": "0" * 15 + "2", "recipient": "../part", "sender": "ana", "content": "bad"}
    gone = {**good, "id": "0" * 15 + "3", "expires_at": "2020-01-01T00:00:00+00:00"}
    done = run(daemon, "import", "-", given="\n".join(map(json.dumps, (good, bad, gone))))
    assert done.returncode == 1
    assert done.stdout == "1 of 3 messages imported; 1 had expired\n"
    assert "1 refused" in done.stderr
    assert [message["content"] for message in records(run(daemon, "export", "part").stdout)] == ["good"]


@pytest.mark.parametrize("line", ["no json", "[1]", '{"id": "1", "recipient": "x", "sender": "y"}'])
def test_an_invalid_line_is_named_and_nothing_is_imported(daemon: Daemon, line: str) -> None:
    good = json.dumps({"id": "9", "recipient": "nothing", "sender": "ana", "content": "good"})
    done = run(daemon, "import", "-", given=f"{good}\n{line}\n")
    assert done.returncode == 1
    assert "line 2 is not a valid message" in done.stderr
    assert "nothing was imported" in done.stderr
    assert run(daemon, "export", "nothing").stdout == ""
