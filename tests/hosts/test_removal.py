"""A host that is removed gets nothing any more; what waits for it returns to its senders, once, whatever is killed."""

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.operator.hub.removing import CannotReach, finish_removal, spread
from mailroomd.operator.hub.setting_up import remove_host, write_server_config
from mailroomd.relay.link import GIVE_UP_ITEMS
from support.faults.crash_points import MOMENTS, REMOVAL_POINTS, Shot
from support.faults.fuses import burnt, lay_fuses
from support.harness.client import refusal_of
from support.harness.command_line import command, environment
from support.harness.daemon import short_directory
from support.harness.waiting import wait_until
from support.hosts.bed import Bed, running_bed

FORWARDED, RETURNED = pb.DELIVERY_STATE_FORWARDED, pb.DELIVERY_STATE_RETURNED
LEARNED_SEC = 60.0  # a host reads the marks every fifteen seconds


@pytest.fixture
def bed() -> Iterator[Bed]:
    with running_bed("a", "b", "c") as made:
        yield made


def hub_command(*arguments: str) -> str:
    """Runs `mailroom hub`; returns what it says."""
    done = subprocess.run(
        command("hub", *arguments),
        env=environment("unix:/nowhere"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def remove(bed: Bed, host: str) -> None:
    """Removes a host as its operator does, who reloads the server while the command waits."""

    def reload() -> None:
        wait_until(lambda: f'user: "{host}"' not in bed.broker.config.read_text(), "the configuration is written")
        bed.broker.reload()

    operator = threading.Thread(target=reload)
    operator.start()
    said = hub_command("remove", str(bed.broker.directory), host)
    operator.join()
    assert f"{host} is removed" in said


def returned(bed: Bed, recipient: str) -> list[tuple[object, ...]]:
    """Returns (content, reason) of the messages that have returned to host a."""
    return bed.hosts["a"].rows(
        "SELECT content, reason FROM messages JOIN departures USING (id) WHERE recipient = ? AND state = 7 ORDER BY id",
        recipient,
    )


def test_what_waits_returns_and_the_sender_is_told(bed: Bed) -> None:
    a, client = bed.hosts["a"], bed.hosts["a"].client
    bed.send("a", "bob:b", "arrives")
    bed.wait_at_rest()
    bed.hosts["b"].daemon.stop()
    (forwarded,) = bed.send("a", "bob:b", "forwarded", sender="ann")
    wait_until(lambda: client.get(forwarded.message.id).delivery.state == FORWARDED, "the message has left")
    wait_until(lambda: bed.broker.streams().get("MAIL_main-0"), "the hub has it")
    remove(bed, "b")
    assert bed.broker.streams()["MAIL_main-0"] == 0, "nothing of it can arrive any more"
    wait_until(lambda: client.get(forwarded.message.id).delivery.state == RETURNED, "it has returned", LEARNED_SEC)
    assert client.get(forwarded.message.id).delivery.reason.startswith("HOST_REMOVED: b was removed")
    assert client.get(forwarded.message.id).history[-1].state == RETURNED
    assert a.rows("SELECT state FROM messages WHERE content = 'arrives'") == [(2,)], "what b has confirmed stays so"
    refusal = refusal_of(lambda: client.send("bob:b", "too late"))
    assert (refusal.reason, "was removed from the hub" in refusal.sentence) == ("HOST_UNKNOWN", True)
    assert a.rows("SELECT count(*) FROM forward_queue") == [(0,)]
    bed.send("a", "cat:c", "goes on")
    wait_until(lambda: bed.hosts["c"].contents("cat") == ["goes on"], "other hosts get their mail")


def test_a_host_that_was_off_learns_of_the_removal_before_it_sends(bed: Bed) -> None:
    a = bed.hosts["a"]
    bed.broker.kill()
    bed.send("a", "bob:b", "never left")
    a.daemon.stop()
    bed.broker.start()
    remove(bed, "b")
    a.daemon.start()
    wait_until(lambda: len(returned(bed, "bob:b")) == 1, "it has returned", LEARNED_SEC)
    assert returned(bed, "bob:b") == [
        ("never left", "HOST_REMOVED: b was removed from the hub before this message left")
    ]
    assert bed.broker.streams()["MAIL_main-0"] == 0


@pytest.mark.parametrize("worker", ["relay", "mailbox", "command-queue"])
def test_each_message_returns_once_although_a_worker_is_killed(bed: Bed, worker: str) -> None:
    a = bed.hosts["a"]
    bed.hosts["b"].daemon.stop()
    contents = [f"{number}" for number in range(1500)]
    bed.send("a", "bob:b", *contents)
    remove(bed, "b")
    wait_until(lambda: returned(bed, "bob:b"), "the first ones have returned", LEARNED_SEC, step_sec=0.005)
    before = a.daemon.signal_workers([worker], signal.SIGKILL)
    a.daemon.wait_replaced(before)
    wait_until(lambda: len(returned(bed, "bob:b")) == len(contents), "all have returned", LEARNED_SEC)
    assert [content for content, _ in returned(bed, "bob:b")] == contents
    receipts = Counter(a.rows("SELECT message_id FROM receipts WHERE state = 7"))
    assert set(receipts.values()) == {1}
    assert len(receipts) == len(contents)
    assert not a.waiting()


@pytest.mark.parametrize("process", ["relay", "command-queue"])
def test_each_message_returns_once_although_a_crash_hits_each_step(process: str) -> None:
    shots = [Shot(one.name, moment, 2) for one in REMOVAL_POINTS if one.process == process for moment in MOMENTS]
    contents = [f"{number}" for number in range(2 * len(shots) * GIVE_UP_ITEMS)]
    with short_directory() as directory:
        bed = Bed(directory, ["a", "b"])
        a = bed.hosts["a"]
        lay_fuses(a.daemon, {process: shots})
        try:
            bed.start()
            bed.hosts["b"].daemon.stop()
            bed.send("a", "bob:b", *contents)
            remove(bed, "b")
            wait_until(lambda: len(burnt(a.daemon)) == len(shots), "each step was hit", LEARNED_SEC)
            wait_until(lambda: len(returned(bed, "bob:b")) == len(contents), "all have returned", LEARNED_SEC)
            assert burnt(a.daemon) == [f"{process}: {shot.moment} {shot.name}" for shot in shots]
            assert [content for content, _ in returned(bed, "bob:b")] == contents
            assert a.rows("SELECT count(*), count(DISTINCT message_id) FROM receipts WHERE state = 7") == [
                (len(contents), len(contents))
            ]
            assert not a.waiting()
        finally:
            bed.close()


def test_a_host_that_is_admitted_again_gets_new_mail_and_no_old(bed: Bed) -> None:
    bed.hosts["b"].daemon.stop()
    bed.send("a", "bob:b", "returns")
    remove(bed, "b")
    wait_until(lambda: len(returned(bed, "bob:b")) == 1, "it has returned", LEARNED_SEC)
    hub_command("init", str(bed.broker.directory), "--host", "b")
    bed.hosts["b"].join(bed.broker.directory / "b.invitation")
    bed.broker.reload()
    bed.hosts["b"].daemon.start()
    wait_until(lambda: bed.hosts["a"].knows("b"), "a has seen b again", LEARNED_SEC)
    bed.accepted.clear()
    bed.send("a", "bob:b", "new")
    bed.wait_at_rest()
    assert bed.hosts["b"].contents("bob") == ["new"]


def test_nothing_is_removed_while_a_server_lets_the_host_in(bed: Bed) -> None:
    assert remove_host(bed.hub, "b", bed.broker.directory)
    write_server_config(bed.hub, bed.broker.directory)  # and nobody reloads the server
    with pytest.raises(CannotReach, match="still lets b in"):
        finish_removal(bed.hub, "b", 0.0, print)
    bed.send("a", "bob:b", "still a host")
    bed.wait_at_rest()


def copies(bed: Bed) -> dict[str, int]:
    """Returns how many copies each stream has; each server knows those that it holds."""
    return {
        stream["name"]: stream["config"]["num_replicas"] for broker in bed.brokers for stream in broker.stream_details()
    }


def test_streams_are_spread_over_a_hub_that_has_grown() -> None:
    with running_bed("a", "b", servers=3, knows_servers=1) as bed:
        assert sorted(copies(bed).values()) == [1, 1, 1, 1]
        assert sorted(spread(bed.hub)) == sorted(copies(bed))
        assert "every stream has as many copies" in hub_command("spread", str(bed.broker.directory))
        wait_until(lambda: set(copies(bed).values()) == {3}, "all streams have three copies")
        bed.send("a", "bob:b", "goes on")
        bed.wait_at_rest()
