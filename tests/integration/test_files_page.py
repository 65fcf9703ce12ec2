"""docs/files.md: its shell agent works with files alone, and its tables name what the daemon writes."""

import json
import os
import re
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from mailroom import CommandResponse, Mailroom
from mailroom.inbox_file import FILE_FIELDS, KIND_KEY, MAILBOX_KEY
from support.harness.daemon import Daemon
from support.harness.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
INBOX, OUTBOX = PAGE.split("\n## ")[1:3]
ROWS = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", INBOX, re.MULTILINE)
AGENT = "\n".join(
    line.removeprefix("$ ") for line in PAGE.partition("```console\n")[2].partition("```")[0].splitlines()
)


@pytest.fixture
def room(daemon: Daemon) -> Generator[Mailroom]:
    with Mailroom(daemon.address, sender="alice") as room:
        yield room


@pytest.mark.system
def test_the_shell_agent_of_the_page_answers_its_mail_in_order(daemon: Daemon, room: Mailroom) -> None:
    with room.subscribe("bob", caught_up=True) as events:
        next(events)  # live
        sent = [room.send("bob", f'say "{number}"').id for number in range(3)]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "MAILROOM_ROOT": str(daemon.root),
            "AGENT": "bob",
        }
        subprocess.run(["bash", "-euc", AGENT], env=environment, check=True, timeout=30)
        found = [event for event in (next(events) for _ in range(6)) if isinstance(event, CommandResponse)]
    assert [response.body for response in found] == [
        {"answer_to": message_id, "to": "alice", "text": f'done: say "{number}"'}
        for number, message_id in enumerate(sent)
    ]
    wait_until(lambda: not room.check_inbox("bob").messages, "every message is read")
    wait_until(lambda: not list((daemon.root / "outbox" / "bob").iterdir()), "every response is taken")


def test_the_page_lists_the_keys_of_an_inbox_file(daemon: Daemon, room: Mailroom) -> None:
    always = {key for key, _, present in ROWS if present == "always"}
    plain = room.send("carol", "x").id
    full = room.send(
        "carol",
        "x",
        thread_id="t",
        in_reply_to=plain,
        priority="high",
        ttl=60,
        reply_by=60,
        metadata={"k": -0.0, "n": 2.0},
    ).id

    def written(message_id: str) -> dict[str, object]:
        return json.loads((daemon.inbox / "carol" / f"{message_id}.json").read_bytes())

    assert written(plain).keys() == always
    assert {key for key, _, _ in ROWS} == {KIND_KEY, MAILBOX_KEY, *FILE_FIELDS}
    assert written(full).keys() | {"sender_verified"} == {key for key, _, _ in ROWS}  # no token, so not verified
    assert '"metadata":{"k":-0.0,"n":2}' in (daemon.inbox / "carol" / f"{full}.json").read_text()
