"""Mail between two hosts: it arrives once and in order, its sender learns what became of it, and nothing else waits."""

from collections.abc import Iterator

import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.core.host_directory import HostDirectory
from support.harness.client import refusal_of
from support.harness.waiting import wait_until
from support.hosts.bed import Bed, running_bed

FILED, OFFERED, READ = pb.DELIVERY_STATE_FILED, pb.DELIVERY_STATE_OFFERED, pb.DELIVERY_STATE_READ
QUEUED, FORWARDED, RETURNED = pb.DELIVERY_STATE_QUEUED, pb.DELIVERY_STATE_FORWARDED, pb.DELIVERY_STATE_RETURNED


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with running_bed("a", "b") as made:
        yield made


def test_a_message_arrives_and_its_sender_learns_each_step(bed: Bed) -> None:
    alice, bob = bed.hosts["a"].client, bed.hosts["b"].client
    (response,) = bed.send("a", "bob:b", "hello", sender="alice")
    sent = response.message
    assert (response.delivery.state, sent.recipient) == (QUEUED, "bob:b")
    (received,) = bob.check("bob", wait_sec=20.0).messages
    assert (received.content, received.sender, received.recipient) == ("hello", "alice:a", "bob")
    wait_until(lambda: alice.get(sent.id).delivery.state == OFFERED, "it is known to be offered")
    bob.acknowledge("bob", [received.id])
    wait_until(lambda: alice.get(sent.id).delivery.state == READ, "it is known to be read")
    assert [receipt.state for receipt in alice.get(sent.id).history] == [pb.DELIVERY_STATE_STORED, FILED, OFFERED, READ]
    bed.wait_at_rest()


def test_an_answer_comes_back_to_the_message_that_it_answers(bed: Bed) -> None:
    (response,) = bed.send("a", "ben:b", "when?", sender="ann")
    (question,) = bed.hosts["b"].client.check("ben", wait_sec=20.0).messages
    bed.hosts["b"].client.send(question.sender, "now", sender="ben", in_reply_to=question.id)
    (answer,) = bed.hosts["a"].client.check("ann", wait_sec=20.0).messages
    assert (answer.content, answer.sender, answer.in_reply_to) == ("now", "ben:b", response.message.id)


def test_all_fields_cross(bed: Bed) -> None:
    client = bed.hosts["a"].client
    client.send("cat:b", "x" * 1_000_000, sender="amy", type="diff", thread_id="t-1", priority=pb.PRIORITY_HIGH)
    (received,) = bed.hosts["b"].client.check("cat", wait_sec=20.0).messages
    assert (len(received.content), received.type, received.thread_id) == (1_000_000, "diff", "t-1")
    assert received.priority == pb.PRIORITY_HIGH


def test_many_messages_arrive_once_and_in_order(bed: Bed) -> None:
    bed.send("a", "dan:b", *(f"a{number}" for number in range(300)))
    bed.send("b", "eve:a", *(f"b{number}" for number in range(300)))
    bed.wait_at_rest()


def test_the_own_host_and_an_unknown_one(bed: Bed) -> None:
    client = bed.hosts["a"].client
    assert client.send("fay:a", "here").message.recipient == "fay"
    refusal = refusal_of(lambda: client.send("fay:nowhere", "x"))
    assert (refusal.reason, refusal.field) == ("HOST_UNKNOWN", "recipient")
    refusal = refusal_of(lambda: client.check("bob:b"))
    assert refusal.reason == "AGENT_ELSEWHERE"


def test_an_agent_that_is_elsewhere_is_named(bed: Bed) -> None:
    a, b = bed.hosts["a"].client, bed.hosts["b"].client
    b.check("zoe")  # she is present there now
    wait_until(
        lambda: "zoe" in HostDirectory(bed.hosts["a"].daemon.state_dir).content().hosts["b"].agents, "seen", 90.0
    )
    response = a.send("zoe", "here?", sender="amy")
    assert list(response.delivery.also_at) == ["b"]
    assert list(a.get(response.message.id).delivery.also_at) == ["b"]
    assert list(a.send("zoe:b", "there", sender="amy").delivery.also_at) == []
    a.check("zoe")
    assert list(a.send("zoe", "here.", sender="amy").delivery.also_at) == [], "she is known here now"
    agents = a.call("ListAgents", pb.ListAgentsRequest(all_hosts=True)).agents
    assert [(agent.name, agent.host, agent.alive) for agent in agents if "zoe" in agent.name and agent.host] == [
        ("zoe:b", "b", True)
    ]
    assert not [agent for agent in a.call("ListAgents", pb.ListAgentsRequest()).agents if agent.host]


def test_the_state_of_the_hub_is_part_of_the_daemons(bed: Bed) -> None:
    bed.wait_at_rest()  # what the test before it has sent would be counted, too
    client = bed.hosts["a"].client
    hub = client.status().hub
    assert (hub.host, hub.connected, hub.problem) == ("a", True, "")
    assert [host.name for host in hub.hosts] == ["b"]
    bed.hosts["b"].daemon.stop()
    client.send("bob:b", "x" * 1000, sender="amy")

    def waiting() -> tuple[int, int]:
        (host,) = client.status().hub.hosts
        return host.waiting, host.waiting_bytes

    wait_until(lambda: waiting() == (1, 1002), "the message is counted", 60.0)
    bed.hosts["b"].daemon.start()
    wait_until(lambda: waiting() == (0, 0), "it has arrived", 60.0)


def test_the_receiving_host_decides_who_may_write_to_whom() -> None:
    with running_bed("a", "b") as made:
        made.hosts["b"].daemon.stop()
        made.hosts["b"].daemon.start("--hub-accept", "a", "--hub-deny", "a=ops*")
        client = made.hosts["a"].client
        denied = client.send("ops:b", "not for you", sender="amy").message.id
        made.send("a", "bob:b", "for you")
        wait_until(lambda: client.get(denied).delivery.state == RETURNED, "the message has returned")
        reason = "REFUSED: host a may not write to ops here (--hub-deny of the receiving host)"
        assert client.get(denied).delivery.reason == reason
        wait_until(lambda: made.hosts["b"].contents("bob") == ["for you"], "the other one has arrived")
        assert made.hosts["b"].contents("ops") == []
        made.hosts["b"].client.send("ann:a", "answers", sender="ops")
        wait_until(lambda: made.hosts["a"].contents("ann") == ["answers"], "ops itself can write")


def test_more_than_the_limit_does_not_wait_for_a_host() -> None:
    with running_bed("a", "b") as made:
        made.hosts["b"].daemon.stop()
        made.hosts["a"].daemon.stop()
        made.hosts["a"].daemon.start("--max-forward-size", "1MiB")
        client = made.hosts["a"].client
        first = client.send("bob:b", "x" * 900_000, sender="amy").message.id
        refusal = refusal_of(lambda: client.send("ben:b", "x" * 200_000, sender="ann"))
        assert (refusal.code.name, refusal.reason, refusal.field) == (
            "RESOURCE_EXHAUSTED",
            "HOST_BACKLOG_FULL",
            "recipient",
        )
        assert "1 MiB wait for host b" in refusal.sentence
        client.send("ben:b", "small", sender="ann")
        client.send("ben", "x" * 200_000, sender="ann")
        made.hosts["b"].daemon.start()
        wait_until(lambda: client.get(first).delivery.state == FILED, "the first one has arrived")
        client.send("ben:b", "x" * 200_000, sender="ann")


def test_a_full_mailbox_returns_the_message_and_the_link_goes_on(bed: Bed) -> None:
    with running_bed("c", "d") as small:
        small.hosts["d"].daemon.stop()
        small.hosts["d"].daemon.start("--max-unread", "2")
        client = small.hosts["c"].client
        ids = [client.send("gus:d", f"{number}", sender="amy").message.id for number in range(3)]
        client.send("hal:d", "after", sender="amy")
        wait_until(lambda: client.get(ids[-1]).delivery.state == RETURNED, "the last one is returned")
        assert "MAILBOX_FULL" in client.get(ids[-1]).delivery.reason
        assert client.get(ids[-1]).message.content == "2", "its content is still here"
        assert "MAILBOX_FULL" in client.get(ids[-1]).history[-1].reason
        assert [message.id for message in client.listed("", states=[RETURNED])] == [ids[-1]]
        stream = client.subscribe("amy", include_receipts=True, after_id="0" * 16)
        events = list(iter(lambda: stream.next().receipt, pb.Receipt()))  # up to CaughtUp, which has none
        stream.cancel()
        receipts = [receipt for receipt in events if receipt.recipient == "gus:d"]
        returned = [receipt for receipt in receipts if receipt.state == RETURNED]
        assert [receipt.message_id for receipt in returned] == [ids[-1]]
        assert "MAILBOX_FULL" in returned[0].reason
        assert {receipt.reason for receipt in receipts if receipt.state != RETURNED} == {""}
        wait_until(lambda: small.hosts["d"].contents("hal") == ["after"], "the next one has arrived")
