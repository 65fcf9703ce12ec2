"""SendMessage of a real daemon: delivery, idempotency keys, limits of a mailbox."""

import random
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import duration, refusal_of, send_request
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_a_recipient_is_unknown_until_it_connects(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    first = deployment.send(agent, "x").delivery
    assert not first.recipient_known
    assert not first.HasField("recipient_last_seen")
    assert first.state == pb.DELIVERY_STATE_FILED
    assert (first.inbox_file_error, first.team_inbox_error, first.subscribers) == ("", "", 0)
    deployment.check(agent)
    now = deployment.send(agent, "x")
    assert now.delivery.recipient_known
    assert abs(now.delivery.recipient_last_seen.ToMilliseconds() - now.message.timestamp.ToMilliseconds()) < 5000


def test_a_recipient_that_has_sent_before_is_known(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    deployment.send(deployment.new_agent(), "x", sender=agent)
    assert deployment.send(agent, "x").delivery.recipient_known


def test_observing_does_not_make_an_agent_known(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent, observe=True)
    deployment.check(agent, observe=True)
    deployment.stats(agent)
    deployment.listed(agent)
    delivery = deployment.send(agent, "x").delivery
    assert not delivery.recipient_known
    assert delivery.subscribers == 0
    stream.cancel()


def test_the_response_counts_the_live_subscribers(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    streams = [deployment.live(agent) for _ in range(3)]
    observer, dashboard = deployment.live(agent, observe=True), deployment.live(all_agents=True)
    delivery = deployment.send(agent, "x").delivery
    assert (delivery.subscribers, delivery.recipient_known) == (3, True)
    for stream in (*streams, observer, dashboard):
        stream.cancel()
    wait_until(lambda: deployment.stats(agent).subscribers == 0, "the streams are gone")
    assert deployment.send(agent, "x").delivery.subscribers == 0


# -- idempotency ------------------------------------------------------------------------------------------------------


def test_a_repeated_key_returns_the_first_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    first = deployment.send(agent, "once", idempotency_key="k", metadata={"a": 1}, sender=agent)
    again = [deployment.send(agent, "once", idempotency_key="k", metadata={"a": 1}, sender=agent) for _ in range(3)]
    assert {answer.message.id for answer in again} == {first.message.id}
    assert {answer.message.timestamp.ToMilliseconds() for answer in again} == {first.message.timestamp.ToMilliseconds()}
    assert deployment.number_stored(agent) == 1
    assert deployment.filed(agent) == [first.message.id]
    assert deployment.stats(agent).unread == 1
    last = deployment.send(agent, "last").message
    assert [message.id for message in stream.messages(2)] == [first.message.id, last.id]
    stream.cancel()


def test_a_key_belongs_to_its_sender(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = {
        deployment.send(agent, "x", sender=sender, idempotency_key="k").message.id for sender in ("ann", "bob", "ann")
    }
    assert len(ids) == 2


def test_a_key_reused_for_a_different_request_is_refused(deployment: Deployment) -> None:
    agent, sender = deployment.new_agent(), deployment.new_agent()
    first = deployment.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1})
    different: list[Callable[[], object]] = [
        lambda: deployment.send(agent, "two", sender=sender, idempotency_key="k", metadata={"a": 1}),
        lambda: deployment.send(deployment.new_agent(), "one", sender=sender, idempotency_key="k", metadata={"a": 1}),
        lambda: deployment.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 2}),
        lambda: deployment.send(agent, "one", sender=sender, idempotency_key="k"),
        lambda: deployment.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1}, ttl_sec=1),
        lambda: deployment.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1}, type="other"),
    ]
    for call in different:
        refusal = refusal_of(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")
        assert refusal.domain == "mailroom"
    assert deployment.filed(agent) == [first.message.id]
    assert deployment.stats(agent).total == 1


def test_the_order_of_metadata_keys_does_not_change_a_request(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    names = [f"name-{index}" for index in range(20)]
    ids: set[str] = set()
    for seed in range(3):
        random.Random(seed).shuffle(names)
        ids.add(
            deployment.send(agent, idempotency_key="order", sender=agent, metadata=dict.fromkeys(names, 1)).message.id
        )
    assert len(ids) == 1


def test_concurrent_sends_with_one_key_are_one_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()

    def send(_: int) -> pb.SendMessageResponse:
        return deployment.send(agent, "x", sender=agent, idempotency_key="same")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(send, range(64)))
    assert len({answer.message.id for answer in answers}) == 1
    assert {answer.delivery.state for answer in answers} == {pb.DELIVERY_STATE_FILED}
    assert {answer.message.read for answer in answers} == {False}
    assert {answer.message.timestamp.ToMilliseconds() for answer in answers} == {
        answers[0].message.timestamp.ToMilliseconds()
    }
    assert deployment.filed(agent) == [answers[0].message.id]
    assert (deployment.stats(agent).total, deployment.stats(agent).unread) == (1, 1)


def test_one_key_twice_in_one_batch_is_one_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    results = deployment.send_many([send_request(agent, "x", sender=agent, idempotency_key="k")] * 20)
    assert {result.ok.message.id for result in results} == set(deployment.filed(agent))
    assert len(deployment.filed(agent)) == 1
    assert {result.ok.delivery.state for result in results} == {pb.DELIVERY_STATE_FILED}
    assert {result.ok.message.read for result in results} == {False}


def test_a_repeated_send_of_a_read_message_says_read(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    first = deployment.send(agent, "x", sender=agent, idempotency_key="k").message
    deployment.acknowledge(agent, [first.id])
    again = deployment.send(agent, "x", sender=agent, idempotency_key="k")
    assert again.message.id == first.id
    assert (again.delivery.state, again.message.read) == (pb.DELIVERY_STATE_READ, True)
    assert deployment.filed(agent) == []
    assert deployment.stats(agent).unread == 0


def test_a_key_of_128_printable_characters_is_accepted(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    keys = ["k" * 128, "a b", "".join(map(chr, range(33, 127))), " "]
    ids = [
        [deployment.send(agent, "x", sender=agent, idempotency_key=key).message.id for key in keys] for _ in range(2)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4


# -- limits of a mailbox ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict_deployment() -> Generator[Deployment]:
    with running_deployment("--max-unread", "5", "--loop-guard", "10") as deployment:
        yield deployment


def test_a_full_mailbox_refuses_sends_until_a_message_is_read(strict_deployment: Deployment) -> None:
    deployment, agent = strict_deployment, strict_deployment.new_agent()
    ids = [deployment.send(agent, "x").message.id for _ in range(5)]
    before = deployment.everything_written()
    refusal = refusal_of(lambda: deployment.send(agent, "x"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert refusal.domain == "mailroom"
    assert agent in refusal.sentence
    assert deployment.everything_written() == before
    assert deployment.send(deployment.new_agent(), "others are not full")
    deployment.acknowledge(agent, ids[:1])
    deployment.send(agent, "x")
    assert refusal_of(lambda: deployment.send(agent, "x")).reason == "MAILBOX_FULL"


def test_a_mailbox_accepts_exactly_its_limit_from_concurrent_senders(strict_deployment: Deployment) -> None:
    deployment, agent = strict_deployment, strict_deployment.new_agent()
    results = deployment.send_many([send_request(agent, "x", sender=f"s{index}") for index in range(50)])
    assert [result.WhichOneof("result") for result in results].count("ok") == 5
    assert {result.error.reason for result in results if result.HasField("error")} == {"MAILBOX_FULL"}
    assert deployment.stats(agent).unread == 5
    assert len(deployment.filed(agent)) == 5


def test_a_message_refused_in_a_batch_says_as_much_as_one_refused_alone(strict_deployment: Deployment) -> None:
    deployment, agent = strict_deployment, strict_deployment.new_agent()
    deployment.send_many([send_request(agent, "x") for _ in range(5)])
    alone = refusal_of(lambda: deployment.send(agent, "x"))
    [result, malformed] = deployment.send_many([send_request(agent, "x"), send_request(".", "x")])
    in_batch = result.error
    assert (in_batch.code, in_batch.reason, in_batch.message) == (alone.code.value[0], alone.reason, alone.sentence)
    assert (in_batch.field, in_batch.retry_delay.ToTimedelta().total_seconds()) == (alone.field, alone.retry_after_sec)
    assert (malformed.error.field, malformed.error.HasField("retry_delay")) == ("recipient", False)


def test_a_repeated_send_succeeds_after_its_mailbox_became_full(strict_deployment: Deployment) -> None:
    deployment, agent = strict_deployment, strict_deployment.new_agent()
    first = deployment.send(agent, "x", sender=agent, idempotency_key="k").message
    for _ in range(4):
        deployment.send(agent, "x")
    assert deployment.send(agent, "x", sender=agent, idempotency_key="k").message.id == first.id


def test_a_message_loop_of_two_agents_is_stopped(strict_deployment: Deployment) -> None:
    deployment = strict_deployment
    ann, bob = deployment.new_agent(), deployment.new_agent()

    def answer(index: int) -> None:
        sender, recipient = (ann, bob) if index % 2 else (bob, ann)
        deployment.acknowledge(recipient, [deployment.send(recipient, "re:", sender=sender).message.id])

    for index in range(10):
        answer(index)
    refusal = refusal_of(lambda: answer(10))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOOP_GUARD")
    assert 0 < refusal.retry_after_sec <= 60
    assert ann in refusal.sentence
    assert bob in refusal.sentence
    assert deployment.send(ann, "from somebody else").message.id


def test_one_way_traffic_is_not_a_loop(strict_deployment: Deployment) -> None:
    deployment = strict_deployment
    ann, bob = deployment.new_agent(), deployment.new_agent()
    for _ in range(40):
        deployment.acknowledge(bob, [deployment.send(bob, "log line", sender=ann).message.id])


# -- the daemon restarts ----------------------------------------------------------------------------------------------


def test_keys_survive_the_death_of_the_daemon(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    first = deployment.send(agent, "once", sender=agent, idempotency_key="k")
    message = send_request("", "all", sender=agent, idempotency_key="b")
    copies = [result.ok.message.id for result in deployment.broadcast([agent, "other"], message)]
    deployment.kill()
    deployment.start()
    again = deployment.send(agent, "once", sender=agent, idempotency_key="k")
    assert (again.message.id, again.delivery.state) == (first.message.id, pb.DELIVERY_STATE_FILED)
    assert [result.ok.message.id for result in deployment.broadcast([agent, "other"], message)] == copies
    refusal = refusal_of(lambda: deployment.send(agent, "other", sender=agent, idempotency_key="k"))
    assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    assert deployment.stats(agent).total == 2
    assert len(deployment.filed(agent)) == 2


def test_a_ttl_from_a_millisecond_to_ten_years_is_accepted(deployment: Deployment) -> None:
    for ttl_sec in (0.001, 10 * 365 * 86_400.0):
        message = deployment.send(deployment.new_agent(), "x", ttl_sec=ttl_sec).message
        lives = message.expires_at.ToMilliseconds() - message.timestamp.ToMilliseconds()
        assert lives == duration(ttl_sec).ToMilliseconds()
