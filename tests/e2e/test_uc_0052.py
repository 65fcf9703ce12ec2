"""UC-0052 in this project's terms: a send goes into the table and the inbox file, and a failing file loses nothing."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.room import Room, running_room
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
def room() -> Generator[Room]:
    with running_room(minds_permissions=True) as room:
        yield room


# -- S1: both the table and the file system contain the message after a send ------------------------------------------


def test_a_send_is_in_the_table_and_in_the_inbox_file_when_it_is_answered(room: Room) -> None:
    assert (room.root / "inbox").is_dir()
    before = datetime.now(UTC)
    sent = room.send("abc", "go", sender="dashboard")
    after = datetime.now(UTC)

    assert room.stats("abc").total == 1
    assert room.stats("abc").unread == 1
    (listed,) = room.listed("abc")
    assert listed == sent.message
    assert sent.delivery.state == pb.DELIVERY_STATE_FILED
    assert sent.delivery.inbox_file_error == ""

    (path,) = room.inbox("abc").iterdir()
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

    ids = {file["id"], path.stem, listed.id, sent.message.id, room.get(sent.message.id).message.id}
    assert len(ids) == 1
    assert len(sent.message.id) == 16
    assert int(sent.message.id, 16) > 0


def test_the_directory_is_made_for_the_first_message_and_used_again(room: Room) -> None:
    assert not room.inbox("new-session").exists()
    first = room.send("new-session", "one").message
    second = room.send("new-session", "two").message
    assert room.filed("new-session") == [first.id, second.id]


def test_the_newest_message_comes_first_in_the_table_and_last_in_the_directory(room: Room) -> None:
    ids = [room.send("order", str(number)).message.id for number in range(3)]
    assert [message.id for message in room.listed("order")] == ids[::-1]
    assert room.filed("order") == ids


# -- S2: an agent that reads its directory finds the file ------------------------------------------------------------


def test_a_reader_that_knows_only_the_directory_finds_the_message(room: Room) -> None:
    sent = [room.send("reader", content, sender="dashboard").message for content in ("go", "größer \U0001f4ec")]
    found = _read_as_an_agent(room.inbox("reader"))
    assert [name for name, _ in found] == [f"{message.id}.json" for message in sent]
    assert [file["content"] for _, file in found] == ["go", "größer \U0001f4ec"]


def test_a_reader_finds_the_message_also_when_the_daemon_is_down(room: Room) -> None:
    room.send("down", "go", sender="dashboard")
    room.kill()
    ((_, file),) = _read_as_an_agent(room.inbox("down"))
    assert (file["content"], file["from"]) == ("go", "dashboard")
    room.start()


def test_no_reader_ever_sees_a_part_of_a_file_or_a_temporary_name(room: Room) -> None:
    sent = room.fill("large", 30, "x" * 200_000)
    for name, file in _read_as_an_agent(room.inbox("large")):
        assert name.endswith(".json")
        assert len(file["content"]) == 200_000
    assert room.filed("large") == sent


def _read_as_an_agent(directory: Path) -> list[tuple[str, dict[str, str]]]:
    command = [sys.executable, "-I", "-c", READER, str(directory)]
    read = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    return cast("list[tuple[str, dict[str, str]]]", json.loads(read.stdout))


# -- S3: a file system error leaves the message in the table, on the streams and in the database ----------------------


@contextmanager
def _directory_without_permission(room: Room, agent: str) -> Generator[None]:
    directory = room.inbox(agent)
    directory.mkdir(exist_ok=True)
    directory.chmod(0o500)
    try:
        yield
    finally:
        directory.chmod(0o700)


@contextmanager
def _inbox_without_permission(room: Room, _: str) -> Generator[None]:
    directory = room.root / "inbox"
    directory.chmod(0o500)
    try:
        yield
    finally:
        directory.chmod(0o700)


@contextmanager
def _file_in_the_place_of_the_directory(room: Room, agent: str) -> Generator[None]:
    room.inbox(agent).write_text("in the way")
    try:
        yield
    finally:
        room.inbox(agent).unlink()


@contextmanager
def _link_in_the_place_of_the_directory(room: Room, agent: str) -> Generator[None]:
    elsewhere = room.directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    room.inbox(agent).symlink_to(elsewhere)
    try:
        yield
    finally:
        assert list(elsewhere.iterdir()) == []
        room.inbox(agent).unlink()


OBSTACLES: dict[str, tuple[Callable[[Room, str], AbstractContextManager[None]], str]] = {
    "a directory without permission": (_directory_without_permission, "Permission denied"),
    "inbox without permission": (_inbox_without_permission, "Permission denied"),
    "a file in the directory's place": (_file_in_the_place_of_the_directory, "Not a directory"),
    "a link in the directory's place": (_link_in_the_place_of_the_directory, "Not a directory"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_mail_whose_file_cannot_be_written_is_delivered_and_filed_later(room: Room, obstacle: str) -> None:
    in_place, reason = OBSTACLES[obstacle]
    agent = room.new_agent()
    stream = room.live(agent)
    with in_place(room, agent):
        sent = room.send(agent, "go", sender="dashboard")
        message_id = sent.message.id
        assert sent.delivery.state == pb.DELIVERY_STATE_STORED
        assert sent.message.state == pb.DELIVERY_STATE_STORED
        assert reason in sent.delivery.inbox_file_error
        assert stream.messages(1)[0].content == "go"
        stream.cancel()
        assert [message.id for message in room.listed(agent)] == [message_id]
        assert room.stats(agent).unread == 1
        assert not room.file_of(agent, message_id).exists()
        assert reason in room.get(message_id).delivery.inbox_file_error
        assert message_id in room.log()
        assert reason in room.log()

        assert room.stop() == 0
        rows = room.query("SELECT content, state < 4, file_error FROM messages WHERE recipient = ?", agent)
        assert rows == [("go", 1, sent.delivery.inbox_file_error)]
        room.start()
        (listed,) = room.listed(agent)
        assert (listed.id, listed.content, listed.read) == (message_id, "go", False)
        assert not room.file_of(agent, message_id).exists()
    wait_until(lambda: room.file_of(agent, message_id).is_file(), "the file is written at last")
    assert room.file(agent, message_id)["content"] == "go"
    wait_until(lambda: room.get(message_id).delivery.inbox_file_error == "", "the message is filed")
    assert room.state(message_id) in (pb.DELIVERY_STATE_FILED, pb.DELIVERY_STATE_OFFERED)
    assert room.send(agent, "next").delivery.state == pb.DELIVERY_STATE_FILED


def test_a_late_file_is_written_by_the_running_daemon_unless_its_mail_is_read(room: Room) -> None:
    agent, other = room.new_agent(), room.new_agent()
    with _directory_without_permission(room, agent):
        first = room.send(agent, "one").message.id
        second = room.send(agent, "two").message.id
        assert room.send(other, "not concerned").delivery.state == pb.DELIVERY_STATE_FILED
        room.acknowledge(agent, [first])
        assert room.state(second) == pb.DELIVERY_STATE_STORED
        assert [step.state for step in room.get(second).history] == [pb.DELIVERY_STATE_STORED]
    wait_until(lambda: room.state(second) == pb.DELIVERY_STATE_FILED, "it is filed at last")
    assert room.filed(agent) == [second]
    history = [step.state for step in room.get(second).history]
    assert history == [pb.DELIVERY_STATE_STORED, pb.DELIVERY_STATE_FILED]
