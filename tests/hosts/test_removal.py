"""A host that is removed gets nothing any more; what waits for it returns to its senders, once, whatever is killed."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.operator.hub.removing import CannotReach, finish_removal, readmit, spread
from mailroomd.operator.hub.setting_up import add_host, remove_host, write_server_config
from support.harness.client import refusal_of
from support.harness.waiting import wait_until
from support.hosts.bed import Bed, running_bed

FORWARDED, RETURNED = pb.DELIVERY_STATE_FORWARDED, pb.DELIVERY_STATE_RETURNED
LEARNED_SEC = 60.0  # a host reads the marks every fifteen seconds


@pytest.fixture
def bed() -> Iterator[Bed]:
    with running_bed("a", "b", "c") as made:
        yield made


def remove(bed: Bed, host: str) -> None:
    """Does what `mailroom hub remove` does, with the reload by the operator."""
    assert remove_host(bed.hub, host, bed.broker.directory)
    write_server_config(bed.hub, bed.broker.directory)
    threading.Timer(1.0, bed.broker.reload).start()  # the operator, while the command waits
    waited: list[str] = []
    finish_removal(bed.hub, host, 60.0, waited.append)
    assert f"still lets {host} in" in waited[0]


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


def test_a_host_that_is_admitted_again_gets_new_mail_and_no_old(bed: Bed) -> None:
    bed.hosts["b"].daemon.stop()
    bed.send("a", "bob:b", "returns")
    remove(bed, "b")
    wait_until(lambda: len(returned(bed, "bob:b")) == 1, "it has returned", LEARNED_SEC)
    readmit(bed.hub, "b")
    bed.hosts["b"].join(add_host(bed.hub, "b", bed.broker.directory))
    write_server_config(bed.hub, bed.broker.directory)
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
        assert spread(bed.hub) == []
        wait_until(lambda: set(copies(bed).values()) == {3}, "all streams have three copies")
        bed.send("a", "bob:b", "goes on")
        bed.wait_at_rest()
