"""UC-0052 in this project's terms: a send goes into the table and the inbox file, and a failing file loses nothing."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until

EIGHT_FIELDS = {"type", "from", "content", "message_type", "metadata", "id", "session_id", "timestamp"}

# An agent as it is out there: it knows the directory, and nothing of this project.
READER = """
import json, os, sys
directory = sys.argv[1]
found = []
for name in sorted(os.listdir(directory)):
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        found.append([name, json.load(file)])
assert not [name for name in sys.modules if name.split(".")[0] in ("mailroom", "mailroomd", "grpc")]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment(minds_permissions=True) as deployment:
        yield deployment


# -- S1: both the table and the file system contain the message after a send ------------------------------------------


def test_a_send_is_in_the_table_and_in_the_inbox_file_when_it_is_answered(deployment: Deployment) -> None:
    assert (deployment.root / "inbox").is_dir()
    before = datetime.now(UTC)
    sent = deployment.send("abc", "go", sender="dashboard")
    after = datetime.now(UTC)

    assert deployment.stats("abc").total == 1
    assert deployment.stats("abc").unread == 1
    (listed,) = deployment.listed("abc")
    assert listed == sent.message
    assert sent.delivery.state == pb.DELIVERY_STATE_FILED
    assert sent.delivery.inbox_file_error == ""

    (path,) = deployment.inbox("abc").iterdir()
    file = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == f"{sent.message.id}.json"
    assert set(file) == EIGHT_FIELDS
    assert file["type"] == "message"
    assert file["from"] == "dashboard"
    assert file["content"] == "go"
    assert file["message_type"] == "text"
    assert file["metadata"] == {}
    assert file["session_id"] == "abc"

    timestamp = datetime.fromisoformat(file["timestamp"])
    assert timestamp.utcoffset() == timedelta(0)
    assert timestamp == sent.message.timestamp.ToDatetime(UTC)
    assert before - timedelta(milliseconds=1) <= timestamp <= after

    ids = {file["id"], path.stem, listed.id, sent.message.id, deployment.get(sent.message.id).message.id}
    assert len(ids) == 1
    assert len(sent.message.id) == 16
    assert int(sent.message.id, 16) > 0


def test_the_directory_is_made_for_the_first_message_and_used_again(deployment: Deployment) -> None:
    assert not deployment.inbox("new-session").exists()
    first = deployment.send("new-session", "one").message
    second = deployment.send("new-session", "two").message
    assert deployment.filed("new-session") == [first.id, second.id]


def test_the_newest_message_comes_first_in_the_table_and_last_in_the_directory(deployment: Deployment) -> None:
    ids = [deployment.send("order", str(number)).message.id for number in range(3)]
    assert [message.id for message in deployment.listed("order")] == ids[::-1]
    assert deployment.filed("order") == ids


# -- S2: an agent that reads its directory finds the file ------------------------------------------------------------


def test_a_reader_that_knows_only_the_directory_finds_the_message(deployment: Deployment) -> None:
    sent = [deployment.send("reader", content, sender="dashboard").message for content in ("go", "größer \U0001f4ec")]
    found = _read_as_an_agent(deployment.inbox("reader"))
    assert [name for name, _ in found] == [f"{message.id}.json" for message in sent]
    assert [file["content"] for _, file in found] == ["go", "größer \U0001f4ec"]


def test_a_reader_finds_the_message_also_when_the_daemon_is_down(deployment: Deployment) -> None:
    deployment.send("down", "go", sender="dashboard")
    deployment.kill()
    ((_, file),) = _read_as_an_agent(deployment.inbox("down"))
    assert (file["content"], file["from"]) == ("go", "dashboard")
    deployment.start()


def test_no_reader_ever_sees_a_part_of_a_file_or_a_temporary_name(deployment: Deployment) -> None:
    sent = deployment.fill("large", 30, "x" * 200_000)
    for name, file in _read_as_an_agent(deployment.inbox("large")):
        assert name.endswith(".json")
        assert len(file["content"]) == 200_000
    assert deployment.filed("large") == sent


def _read_as_an_agent(directory: Path) -> list[tuple[str, dict[str, str]]]:
    command = [sys.executable, "-I", "-c", READER, str(directory)]
    read = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    return cast("list[tuple[str, dict[str, str]]]", json.loads(read.stdout))


# -- S3: a file system error leaves the message in the table, on the streams and in the database ----------------------


@contextmanager
def _directory_without_permission(deployment: Deployment, agent: str) -> Generator[None]:
    directory = deployment.inbox(agent)
    directory.mkdir(exist_ok=True)
    directory.chmod(0o500)
    try:
        yield
    finally:
        directory.chmod(0o700)


@contextmanager
def _inbox_without_permission(deployment: Deployment, _: str) -> Generator[None]:
    directory = deployment.root / "inbox"
    directory.chmod(0o500)
    try:
        yield
    finally:
        directory.chmod(0o700)


@contextmanager
def _file_in_the_place_of_the_directory(deployment: Deployment, agent: str) -> Generator[None]:
    deployment.inbox(agent).write_text("in the way")
    try:
        yield
    finally:
        deployment.inbox(agent).unlink()


@contextmanager
def _link_in_the_place_of_the_directory(deployment: Deployment, agent: str) -> Generator[None]:
    elsewhere = deployment.directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    deployment.inbox(agent).symlink_to(elsewhere)
    try:
        yield
    finally:
        assert list(elsewhere.iterdir()) == []
        deployment.inbox(agent).unlink()


# By what the error has to say; the last one obstructs everything.
OBSTACLES: list[tuple[Callable[[Deployment, str], AbstractContextManager[None]], str]] = [
    (_directory_without_permission, "Permission denied"),
    (_file_in_the_place_of_the_directory, "Not a directory"),
    (_link_in_the_place_of_the_directory, "Not a directory"),
    (_inbox_without_permission, "Permission denied"),
]


def test_mail_whose_file_cannot_be_written_is_delivered_and_filed_later(deployment: Deployment) -> None:
    sent: list[pb.SendMessageResponse] = []
    with ExitStack() as in_place:
        for obstacle, reason in OBSTACLES:
            agent = deployment.new_agent()
            stream = deployment.live(agent)
            in_place.enter_context(obstacle(deployment, agent))
            sent.append(deployment.send(agent, "go", sender="dashboard"))
            assert stream.messages(1)[0].content == "go"
            stream.cancel()
            _check_not_filed(deployment, sent[-1], reason)
        assert deployment.stop() == 0
        for one in sent:
            query = "SELECT content, state < 4, file_error FROM messages WHERE recipient = ?"
            assert deployment.query(query, one.message.recipient) == [("go", 1, one.delivery.inbox_file_error)]
        deployment.start()
        for one in sent:
            (listed,) = deployment.listed(one.message.recipient)
            assert (listed.id, listed.content, listed.read) == (one.message.id, "go", False)
            assert not deployment.file_of(one.message.recipient, one.message.id).exists()
    for one in sent:
        _check_filed_later(deployment, one.message)


def _check_not_filed(deployment: Deployment, sent: pb.SendMessageResponse, reason: str) -> None:
    """The message is everywhere but in the inbox directory; answer, state and log say why."""
    agent, message_id = sent.message.recipient, sent.message.id
    assert sent.delivery.state == sent.message.state == pb.DELIVERY_STATE_STORED
    assert reason in sent.delivery.inbox_file_error
    assert [message.id for message in deployment.listed(agent)] == [message_id]
    assert deployment.stats(agent).unread == 1
    assert not deployment.file_of(agent, message_id).exists()
    assert reason in deployment.get(message_id).delivery.inbox_file_error
    assert any(message_id in line and reason in line for line in deployment.log().splitlines())


def _check_filed_later(deployment: Deployment, message: pb.Message) -> None:
    path = deployment.file_of(message.recipient, message.id)
    wait_until(path.is_file, "the file is written at last")
    assert json.loads(path.read_bytes())["content"] == "go"
    wait_until(lambda: deployment.get(message.id).delivery.inbox_file_error == "", "the message is filed")
    assert deployment.state(message.id) in (pb.DELIVERY_STATE_FILED, pb.DELIVERY_STATE_OFFERED)
    assert deployment.send(message.recipient, "next").delivery.state == pb.DELIVERY_STATE_FILED


def test_a_late_file_is_written_by_the_running_daemon_unless_its_mail_is_read(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    with _directory_without_permission(deployment, agent):
        first = deployment.send(agent, "one").message.id
        second = deployment.send(agent, "two").message.id
        assert deployment.send(other, "not concerned").delivery.state == pb.DELIVERY_STATE_FILED
        deployment.acknowledge(agent, [first])
        assert deployment.state(second) == pb.DELIVERY_STATE_STORED
        assert [step.state for step in deployment.get(second).history] == [pb.DELIVERY_STATE_STORED]
    wait_until(lambda: deployment.state(second) == pb.DELIVERY_STATE_FILED, "it is filed at last")
    assert deployment.filed(agent) == [second]
    history = [step.state for step in deployment.get(second).history]
    assert history == [pb.DELIVERY_STATE_STORED, pb.DELIVERY_STATE_FILED]
