"""A restart rebuilds the mailbox table from the database and repairs the inbox files.

One daemon is stopped, another killed, each with mailboxes in every state; then their files are changed. Each test
checks one mailbox after the restart.
"""

import shutil
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until

MIXED = ("mixed", "agent@team", "third")


@dataclass
class Before:
    """A daemon after its restart, and its state before."""

    deployment: Deployment
    killed: bool
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    lists: dict[str, list[pb.Message]] = field(default_factory=dict[str, list[pb.Message]])
    stats: dict[str, pb.MailboxStats] = field(default_factory=dict[str, pb.MailboxStats])
    bytes_of: dict[Path, bytes] = field(default_factory=dict[Path, bytes])

    def fill(self, agent: str, number: int) -> None:
        self.ids[agent] = self.deployment.fill(agent, number)

    def files(self, agent: str) -> list[Path]:
        return [self.deployment.file_of(agent, message_id) for message_id in self.ids[agent]]


@pytest.fixture(scope="module", params=["stopped", "killed"])
def before(request: pytest.FixtureRequest) -> Generator[Before]:
    with running_deployment() as deployment:
        before = Before(deployment, request.param == "killed")
        _prepare(before)
        if before.killed:
            newest = max(message_id for ids in before.ids.values() for message_id in ids)
            wait_until(lambda: _synced_id(deployment) >= int(newest, 16), "the files are synced", 12)
            before.fill("fresh", 5)
        before.files("takes")[0].unlink()
        before.files("takes")[3].rename(deployment.directory / "taken")
        if before.killed:
            deployment.kill()
            assert _synced_id(deployment) < int(before.ids["fresh"][0], 16)
        else:
            assert deployment.stop() == 0
            assert _synced_id(deployment) >= int(before.ids["takes"][-1], 16)
        _meddle(before)
        deployment.start()
        yield before


def _prepare(before: Before) -> None:
    """Brings mailboxes into every state."""
    deployment = before.deployment
    _fill_mixed(before)
    for agent in ("takes", "torn", "reads", "loses-its-directory"):
        before.fill(agent, 5)
    before.ids["keys"] = [
        deployment.send("keys", text, sender="keys", idempotency_key=text).message.id for text in ("once", "read")
    ]
    deployment.acknowledge("keys", before.ids["keys"][1:])
    before.bytes_of = {path: path.read_bytes() for path in before.files("torn") + before.files("reads")}
    deployment.acknowledge("reads", before.ids["reads"][:2])
    wait_until(lambda: deployment.filed("reads") == before.ids["reads"][2:], "the files are taken away")


def _fill_mixed(before: Before) -> None:
    deployment = before.deployment
    requests = [
        send_request(MIXED[number % 3], f"mail {number}", sender=f"s{number % 2}", metadata={"n": number})
        for number in range(30)
    ]
    requests[3].thread_id, requests[4].type, requests[5].priority = "thread", "context_push", pb.PRIORITY_HIGH
    requests[6].ttl.FromSeconds(86_400)
    sent = [result.ok.message for result in deployment.send_many(requests)]
    for agent in MIXED:
        before.ids[agent] = [message.id for message in sent if message.recipient == agent]
    deployment.acknowledge("mixed", [before.ids["mixed"][0], before.ids["mixed"][2]])
    deployment.acknowledge("third", before.ids["third"])
    deployment.check("agent@team", limit=2)
    before.lists = {agent: deployment.listed(agent) for agent in MIXED}
    before.stats = {agent: deployment.stats(agent) for agent in MIXED}


def _meddle(before: Before) -> None:
    """Changes files as crashes and agents do while the daemon is down."""
    deployment = before.deployment
    torn = before.files("torn")
    torn[0].write_bytes(b"")
    torn[1].write_bytes(before.bytes_of[torn[1]][:-9])
    torn[2].write_bytes(bytes(len(before.bytes_of[torn[2]])))
    torn[3].write_bytes(before.bytes_of[torn[4]])
    for path in before.files("reads"):
        path.write_bytes(before.bytes_of[path])
    deployment.inbox("reads").joinpath("notes.txt").write_text("the agent's own")
    deployment.inbox("reads").joinpath("0000000000000001.json").write_text("{}")
    shutil.rmtree(deployment.inbox("loses-its-directory"))
    (deployment.root / "inbox" / ".tmp" / "00000000000000ff").write_text('{"half":')
    if before.killed:
        for path in (before.files("fresh")[1], before.files("fresh")[4]):
            path.unlink()
    else:
        before.files("takes")[4].unlink()


def _synced_id(deployment: Deployment) -> int:
    """The files up to this message are certainly on the disk."""
    return deployment.query("SELECT value FROM meta WHERE name = 'synced_id'")[0][0]


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", MIXED)
def test_order_read_flags_fields_and_figures_come_back(before: Before, agent: str) -> None:
    deployment = before.deployment
    after = deployment.listed(agent)
    assert [message.id for message in after] == before.ids[agent][::-1]
    for was, now in zip(before.lists[agent], after, strict=True):
        if not now.read:  # OFFERED is no promise across a crash
            was.state = now.state = pb.DELIVERY_STATE_UNSPECIFIED
        assert now == was
    assert deployment.filed(agent) == [message.id for message in after[::-1] if not message.read]
    now = deployment.stats(agent)
    assert (now.total, now.unread) == (before.stats[agent].total, before.stats[agent].unread)


def test_a_dashboard_goes_on_where_it_was(before: Before) -> None:
    everything = sorted(message_id for ids in before.ids.values() for message_id in ids)
    stream = before.deployment.subscribe(all_agents=True, after_id=everything[0])
    assert [message.id for message in stream.until_caught_up()[0]][: len(everything) - 1] == everything[1:]
    stream.cancel()


def test_ids_go_on_growing(before: Before) -> None:
    everything = {message_id for ids in before.ids.values() for message_id in ids}
    assert before.deployment.send("newcomer", "x").message.id > max(everything)


def test_idempotency_keys_survive(before: Before) -> None:
    deployment, (once, read) = before.deployment, before.ids["keys"]
    assert deployment.send("keys", "once", sender="keys", idempotency_key="once").message.id == once
    again = deployment.send("keys", "read", sender="keys", idempotency_key="read")
    assert (again.message.id, again.delivery.state) == (read, pb.DELIVERY_STATE_READ)
    refusal = refusal_of(lambda: deployment.send("keys", "else", sender="keys", idempotency_key="once"))
    assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    assert (deployment.stats("keys").total, deployment.stats("keys").unread) == (2, 1)
    assert deployment.filed("keys") == [once]


def test_who_was_there_and_what_was_offered_long_before_survives(before: Before) -> None:
    deployment, agent = before.deployment, "agent@team"
    assert deployment.stats(agent).HasField("last_seen")
    assert deployment.send(agent, "x").delivery.recipient_known
    unoffered = [message.id for message in deployment.check(agent, unoffered_only=True, observe=True).messages]
    assert unoffered[: len(before.ids[agent]) - 2] == before.ids[agent][2:]


def test_more_messages_than_the_table_holds_come_back() -> None:
    with running_deployment("--table-size", "8MiB") as deployment:
        ids = deployment.fill("abc", 40, "x" * 300_000)
        few = deployment.fill("few", 3)
        deployment.kill()
        deployment.start()
        assert (deployment.stats("abc").total, deployment.stats("abc").unread) == (40, 40)
        stream = deployment.subscribe("abc", include_unread=True)
        assert [message.id for message in stream.until_caught_up()[0]] == ids
        stream.cancel()
        assert [message.id for message in deployment.listed("few")] == few[::-1]
        assert deployment.filed("abc") == ids


# -- the files --------------------------------------------------------------------------------------------------------


def test_a_file_that_was_not_synced_yet_is_written_again_when_it_is_missing(before: Before) -> None:
    deployment, agent = before.deployment, "fresh" if before.killed else "loses-its-directory"
    assert deployment.filed(agent) == before.ids[agent]
    assert [deployment.file(agent, message_id)["content"] for message_id in before.ids[agent]] == [
        f"mail {n}" for n in range(5)
    ]
    assert deployment.stats(agent).unread == 5
    assert {message.state for message in deployment.listed(agent)} == {pb.DELIVERY_STATE_FILED}


def test_mail_whose_synced_file_was_taken_is_read_after_a_restart(before: Before) -> None:
    deployment, ids = before.deployment, before.ids["takes"]
    kept = [ids[1], ids[2], ids[4]] if before.killed else [ids[1], ids[2]]
    wait_until(lambda: deployment.stats("takes").unread == len(kept), "the agent's reading is noticed")
    assert deployment.filed("takes") == kept
    assert [message.id for message in deployment.listed("takes") if message.read] == [
        message_id for message_id in reversed(ids) if message_id not in kept
    ]
    assert deployment.state(ids[0]) == pb.DELIVERY_STATE_READ
    assert [message.id for message in deployment.check("takes").messages] == kept


def test_empty_and_torn_files_are_written_again(before: Before) -> None:
    deployment = before.deployment
    assert all(path.read_bytes() == before.bytes_of[path] for path in before.files("torn"))
    assert deployment.filed("torn") == before.ids["torn"]
    assert deployment.stats("torn").unread == 5


def test_files_that_messages_left_when_they_were_read_are_removed_and_nothing_else(before: Before) -> None:
    deployment = before.deployment
    assert deployment.filed("reads") == ["0000000000000001", *before.ids["reads"][2:], "notes"]
    assert deployment.stats("reads").unread == 3


def test_a_lost_directory_does_not_count_as_read(before: Before) -> None:
    deployment, agent = before.deployment, "loses-its-directory"
    assert deployment.filed(agent) == before.ids[agent]
    assert deployment.stats(agent).unread == 5


def test_temporary_files_of_a_crash_are_cleared_away(before: Before) -> None:
    assert list((before.deployment.root / "inbox" / ".tmp").iterdir()) == []


def test_a_lost_inbox_is_not_read_and_a_first_start_touches_no_file() -> None:
    with running_deployment() as deployment:
        ids, others = deployment.fill("abc", 3), deployment.fill("other", 2)
        assert deployment.stop() == 0
        shutil.rmtree(deployment.root / "inbox")
        deployment.start()
        assert (deployment.filed("abc"), deployment.filed("other")) == (ids, others)
        assert (deployment.stats("abc").unread, deployment.stats("other").unread) == (3, 2)

        assert deployment.stop() == 0
        shutil.rmtree(deployment.state_dir)
        left = deployment.root / "outbox" / "abc" / "notes.txt"
        left.parent.mkdir(parents=True)
        left.write_text("mine")
        deployment.start()
        assert deployment.filed("abc") == ids
        assert left.read_text() == "mine"
        assert deployment.send("abc", "x").message.id > ids[-1]
