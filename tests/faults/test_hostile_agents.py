"""An agent fills the root's directories with links, pipes and worse: nothing outside them is touched.

The daemon's writes are traced, as its clients' are in test_hostile_clients.
"""

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.model.ids import MS_SHIFT, format_id
from support.faults.write_watch import WriteWatch
from support.harness.room import Room, new_room
from support.harness.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

VICTIM = b'[{"from": "me", "text": "not yours", "timestamp": "2026-01-01T00:00:00Z", "read": true}]'


@pytest.fixture(scope="module")
def room() -> Generator[Room]:
    with new_room(watched=True) as room:
        room.start()
        yield room
        assert all(one.restarts == 0 for one in room.status().workers), room.log()
        assert room.stop() == 0
        strangers = WriteWatch(room.directory / "trace").changed()
        assert not [one for one in strangers if one.startswith(("/etc", str(outside(room))))]


def outside(room: Room) -> Path:
    """Returns a directory that is not the daemon's."""
    return Path(f"{room.directory.resolve()}-outside")


@pytest.fixture
def victim(room: Room) -> Generator[Path]:
    """A foreign file; it must stay as it is."""
    path = outside(room) / "victim.json"
    path.parent.mkdir()
    path.write_bytes(VICTIM)
    yield path
    assert path.read_bytes() == VICTIM
    assert sorted(one.name for one in outside(room).iterdir()) == ["victim.json"]
    path.unlink()
    outside(room).rmdir()


def linked_to(target: Path) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(target)


def test_an_inbox_that_is_a_link_to_etc_gets_no_file_and_its_mail_is_kept(room: Room) -> None:
    before = sorted(Path("/etc").iterdir())
    (room.root / "inbox" / "linked").symlink_to("/etc")
    answer = room.send("linked", "for you")
    assert answer.delivery.state == pb.DELIVERY_STATE_STORED
    assert answer.delivery.inbox_file_error
    assert [one.content for one in room.check("linked").messages] == ["for you"]
    room.acknowledge("linked", [answer.message.id])
    room.call("ClearMailbox", pb.ClearMailboxRequest(agent="linked"))
    assert sorted(Path("/etc").iterdir()) == before
    (room.root / "inbox" / "linked").unlink()


def test_links_under_names_of_future_inbox_files_are_not_followed(room: Room, victim: Path) -> None:
    room.send("trapped")
    inbox = room.inbox("trapped")
    now_ms = time.time_ns() // 1_000_000
    for ahead in range(4000):  # the first id of each of the next milliseconds
        (inbox / f"{format_id(now_ms + ahead << MS_SHIFT)}.json").symlink_to(victim)
    sent = [room.send("trapped", f"{number}").message.id for number in range(20)]
    assert any(int(number, 16) % (1 << MS_SHIFT) == 0 for number in sent), "a link was in the way of one at least"
    for number in sent:
        assert not room.file_of("trapped", number).is_symlink(), "the link was replaced, not followed"
        assert room.file("trapped", number)["id"] == number
    room.acknowledge("trapped", sent)
    assert not any(room.file_of("trapped", number).exists() for number in sent)


def test_nothing_is_written_through_a_linked_temporary_directory(room: Room, victim: Path) -> None:
    temporary = room.root / "inbox" / ".tmp"
    temporary.rename(temporary.with_name(".old"))
    temporary.symlink_to(victim.parent)
    answer = room.send("abc", "through a link")
    assert answer.delivery.state == pb.DELIVERY_STATE_STORED
    temporary.unlink()
    temporary.with_name(".old").rename(temporary)
    wait_until(lambda: room.state(answer.message.id) >= pb.DELIVERY_STATE_FILED, "its file is there at last")


@pytest.mark.parametrize("place", ["session", "session/a.json", "session/b.json"])
def test_links_in_the_outbox_are_neither_read_nor_removed(room: Room, victim: Path, place: str) -> None:
    path = room.root / "outbox" / "links" / place
    path.parent.mkdir(parents=True)
    if place == "session":
        path.symlink_to(victim.parent)
    else:
        path.symlink_to(victim)
    (room.root / "outbox" / "witness").mkdir(exist_ok=True)
    stream = room.live("witness")
    (room.root / "outbox" / "witness" / "w.json").write_text('{"seen": true}')
    assert stream.next().command_response.file_name == "w.json", "the round has come past the links"
    stream.cancel()
    assert path.is_symlink()
    path.unlink()
    for directory in {path.parent, room.root / "outbox" / "links"}:
        if directory.exists() and not any(directory.iterdir()):
            directory.rmdir()
    outbox = room.root / "outbox" / "links"
    if outbox.exists():
        for one in sorted(outbox.rglob("*"), reverse=True):
            one.rmdir()
        outbox.rmdir()


@pytest.mark.parametrize(
    "place", ["teams", "teams/t", "teams/t/inboxes", "teams/t/inboxes/bob.json", "teams/t/inboxes/bob.json.lock"]
)
def test_a_linked_team_inbox_gets_nothing_and_the_sender_learns_why(room: Room, victim: Path, place: str) -> None:
    path = room.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim if place.endswith(".json") else victim.parent)
    answer = room.send("bob@t", "for the team")
    assert answer.delivery.team_inbox_error
    assert answer.message.id in room.filed("bob@t")
    path.unlink()
    entries = room.root / "teams" / "t" / "inboxes" / "bob.json"
    wait_until(lambda: entries.exists() and "for the team" in entries.read_text(), "it is written at last")
    for one in sorted((room.root / "teams").rglob("*"), reverse=True):
        one.unlink() if one.is_file() else one.rmdir()
    (room.root / "teams").rmdir()


def test_pipes_devices_and_loops_in_every_directory_block_nothing(room: Room) -> None:
    for directory in ("inbox/odd", "outbox/odd"):
        path = room.root / directory
        path.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path / "0000000000000001.json")
        (path / "loop.json").symlink_to("loop.json")
        (path / "zero.json").symlink_to("/dev/zero")
        (path / "dir.json").mkdir()
        (path / ("x" * 250 + ".json")).write_text("{}")
        (path / "\udcff\udcfe.json").write_text("{}")
    sent = room.send("odd", "in between")
    assert sent.delivery.state == pb.DELIVERY_STATE_FILED
    room.acknowledge("odd", [sent.message.id])
    assert room.send("abc").message.id
    room.call("GetQueueStats", pb.GetQueueStatsRequest())
