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
from support.harness.deployment import Deployment, new_deployment
from support.harness.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(120)]

VICTIM = b'[{"from": "me", "text": "not yours", "timestamp": "2026-01-01T00:00:00Z", "read": true}]'


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with new_deployment(watched=True) as deployment:
        deployment.start()
        yield deployment
        assert all(one.restarts == 0 for one in deployment.status().workers), deployment.log()
        assert deployment.stop() == 0
        strangers = WriteWatch(deployment.directory / "trace").changed()
        assert not [one for one in strangers if one.startswith(("/etc", str(outside(deployment))))]


def outside(deployment: Deployment) -> Path:
    """Returns a directory that is not the daemon's."""
    return Path(f"{deployment.directory.resolve()}-outside")


@pytest.fixture
def victim(deployment: Deployment) -> Generator[Path]:
    """A foreign file; it must stay as it is."""
    path = outside(deployment) / "victim.json"
    path.parent.mkdir()
    path.write_bytes(VICTIM)
    yield path
    assert path.read_bytes() == VICTIM
    assert sorted(one.name for one in outside(deployment).iterdir()) == ["victim.json"]
    path.unlink()
    outside(deployment).rmdir()


def linked_to(target: Path) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(target)


def test_an_inbox_that_is_a_link_to_etc_gets_no_file_and_its_mail_is_kept(deployment: Deployment) -> None:
    before = sorted(Path("/etc").iterdir())
    (deployment.root / "inbox" / "linked").symlink_to("/etc")
    answer = deployment.send("linked", "for you")
    assert answer.delivery.state == pb.DELIVERY_STATE_STORED
    assert answer.delivery.inbox_file_error
    assert [one.content for one in deployment.check("linked").messages] == ["for you"]
    deployment.acknowledge("linked", [answer.message.id])
    deployment.call("ClearMailbox", pb.ClearMailboxRequest(agent="linked"))
    assert sorted(Path("/etc").iterdir()) == before
    (deployment.root / "inbox" / "linked").unlink()


def test_links_under_names_of_future_inbox_files_are_not_followed(deployment: Deployment, victim: Path) -> None:
    deployment.send("trapped")
    inbox = deployment.inbox("trapped")
    now_ms = time.time_ns() // 1_000_000
    for ahead in range(4000):  # the first id of each of the next milliseconds
        (inbox / f"{format_id(now_ms + ahead << MS_SHIFT)}.json").symlink_to(victim)
    sent = [deployment.send("trapped", f"{number}").message.id for number in range(20)]
    assert any(int(number, 16) % (1 << MS_SHIFT) == 0 for number in sent), "a link was in the way of one at least"
    for number in sent:
        assert not deployment.file_of("trapped", number).is_symlink(), "the link was replaced, not followed"
        assert deployment.file("trapped", number)["id"] == number
    deployment.acknowledge("trapped", sent)
    assert not any(deployment.file_of("trapped", number).exists() for number in sent)


def test_nothing_is_written_through_a_linked_temporary_directory(deployment: Deployment, victim: Path) -> None:
    temporary = deployment.root / "inbox" / ".tmp"
    temporary.rename(temporary.with_name(".old"))
    temporary.symlink_to(victim.parent)
    answer = deployment.send("abc", "through a link")
    assert answer.delivery.state == pb.DELIVERY_STATE_STORED
    temporary.unlink()
    temporary.with_name(".old").rename(temporary)
    wait_until(lambda: deployment.state(answer.message.id) >= pb.DELIVERY_STATE_FILED, "its file is there at last")


@pytest.mark.parametrize("place", ["session", "session/a.json", "session/b.json"])
def test_links_in_the_outbox_are_neither_read_nor_removed(deployment: Deployment, victim: Path, place: str) -> None:
    path = deployment.root / "outbox" / "links" / place
    path.parent.mkdir(parents=True)
    if place == "session":
        path.symlink_to(victim.parent)
    else:
        path.symlink_to(victim)
    (deployment.root / "outbox" / "witness").mkdir(exist_ok=True)
    stream = deployment.live("witness")
    (deployment.root / "outbox" / "witness" / "w.json").write_text('{"seen": true}')
    assert stream.next().command_response.file_name == "w.json", "the round has come past the links"
    stream.cancel()
    assert path.is_symlink()
    path.unlink()
    for directory in {path.parent, deployment.root / "outbox" / "links"}:
        if directory.exists() and not any(directory.iterdir()):
            directory.rmdir()
    outbox = deployment.root / "outbox" / "links"
    if outbox.exists():
        for one in sorted(outbox.rglob("*"), reverse=True):
            one.rmdir()
        outbox.rmdir()


def replace_link(link: Path, directory: Path) -> None:
    """Puts the directories of a team in the place of a link, at once: a team without any would have ended."""
    if directory != link and not directory.is_relative_to(link):
        link.unlink()
        return
    made = link.with_name("made")
    (made / directory.relative_to(link)).mkdir(parents=True)
    link.unlink()
    made.rename(link)


@pytest.mark.parametrize(
    "place", ["teams", "teams/t", "teams/t/inboxes", "teams/t/inboxes/bob.json", "teams/t/inboxes/bob.json.lock"]
)
def test_a_linked_team_inbox_gets_nothing_and_the_sender_learns_why(
    deployment: Deployment, victim: Path, place: str
) -> None:
    path = deployment.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim if place.endswith(".json") else victim.parent)
    answer = deployment.send("bob@t", "for the team")
    assert answer.delivery.team_inbox_error
    assert answer.message.id in deployment.filed("bob@t")
    entries = deployment.root / "teams" / "t" / "inboxes" / "bob.json"
    replace_link(path, entries.parent)
    wait_until(lambda: entries.exists() and "for the team" in entries.read_text(), "it is written at last")
    for one in sorted((deployment.root / "teams").rglob("*"), reverse=True):
        one.unlink() if one.is_file() else one.rmdir()
    (deployment.root / "teams").rmdir()


def test_pipes_devices_and_loops_in_every_directory_block_nothing(deployment: Deployment) -> None:
    for directory in ("inbox/odd", "outbox/odd"):
        path = deployment.root / directory
        path.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path / "0000000000000001.json")
        (path / "loop.json").symlink_to("loop.json")
        (path / "zero.json").symlink_to("/dev/zero")
        (path / "dir.json").mkdir()
        (path / ("x" * 250 + ".json")).write_text("{}")
        (path / "\udcff\udcfe.json").write_text("{}")
    sent = deployment.send("odd", "in between")
    assert sent.delivery.state == pb.DELIVERY_STATE_FILED
    deployment.acknowledge("odd", [sent.message.id])
    assert deployment.send("abc").message.id
    deployment.call("GetQueueStats", pb.GetQueueStatsRequest())
