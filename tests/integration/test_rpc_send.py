"""SendMessage of a real daemon: delivery, idempotency keys, limits of a mailbox."""

import random
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import duration, refusal_of, send_request
from support.harness.room import Room, running_room
from support.harness.waiting import wait_until


@pytest.fixture(scope="module")
def room() -> Generator[Room]:
    with running_room() as room:
        yield room


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_a_recipient_is_unknown_until_it_connects(room: Room) -> None:
    agent = room.new_agent()
    first = room.send(agent, "x").delivery
    assert not first.recipient_known
    assert not first.HasField("recipient_last_seen")
    assert first.state == pb.DELIVERY_STATE_FILED
    assert (first.inbox_file_error, first.team_inbox_error, first.subscribers) == ("", "", 0)
    room.check(agent)
    now = room.send(agent, "x")
    assert now.delivery.recipient_known
    assert abs(now.delivery.recipient_last_seen.ToMilliseconds() - now.message.timestamp.ToMilliseconds()) < 5000


def test_a_recipient_that_has_sent_before_is_known(room: Room) -> None:
    agent = room.new_agent()
    room.send(room.new_agent(), "x", sender=agent)
    assert room.send(agent, "x").delivery.recipient_known


def test_observing_does_not_make_an_agent_known(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent, observe=True)
    room.check(agent, observe=True)
    room.stats(agent)
    room.listed(agent)
    delivery = room.send(agent, "x").delivery
    assert not delivery.recipient_known
    assert delivery.subscribers == 0
    stream.cancel()


def test_the_response_counts_the_live_subscribers(room: Room) -> None:
    agent = room.new_agent()
    streams = [room.live(agent) for _ in range(3)]
    observer, dashboard = room.live(agent, observe=True), room.live(all_agents=True)
    delivery = room.send(agent, "x").delivery
    assert (delivery.subscribers, delivery.recipient_known) == (3, True)
    for stream in (*streams, observer, dashboard):
        stream.cancel()
    wait_until(lambda: room.stats(agent).subscribers == 0, "the streams are gone")
    assert room.send(agent, "x").delivery.subscribers == 0


# -- idempotency ------------------------------------------------------------------------------------------------------


def test_a_repeated_key_returns_the_first_message(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    first = room.send(agent, "once", idempotency_key="k", metadata={"a": 1}, sender=agent)
    again = [room.send(agent, "once", idempotency_key="k", metadata={"a": 1}, sender=agent) for _ in range(3)]
    assert {answer.message.id for answer in again} == {first.message.id}
    assert {answer.message.timestamp.ToMilliseconds() for answer in again} == {first.message.timestamp.ToMilliseconds()}
    assert room.number_stored(agent) == 1
    assert room.filed(agent) == [first.message.id]
    assert room.stats(agent).unread == 1
    last = room.send(agent, "last").message
    assert [message.id for message in stream.messages(2)] == [first.message.id, last.id]
    stream.cancel()


def test_a_key_belongs_to_its_sender(room: Room) -> None:
    agent = room.new_agent()
    ids = {room.send(agent, "x", sender=sender, idempotency_key="k").message.id for sender in ("ann", "bob", "ann")}
    assert len(ids) == 2


def test_a_key_reused_for_a_different_request_is_refused(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    first = room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1})
    different: list[Callable[[], object]] = [
        lambda: room.send(agent, "two", sender=sender, idempotency_key="k", metadata={"a": 1}),
        lambda: room.send(room.new_agent(), "one", sender=sender, idempotency_key="k", metadata={"a": 1}),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 2}),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k"),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1}, ttl_sec=1),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1}, type="other"),
    ]
    for call in different:
        refusal = refusal_of(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")
        assert refusal.domain == "mailroom"
    assert room.filed(agent) == [first.message.id]
    assert room.stats(agent).total == 1


def test_the_order_of_metadata_keys_does_not_change_a_request(room: Room) -> None:
    agent = room.new_agent()
    names = [f"name-{index}" for index in range(20)]
    ids: set[str] = set()
    for seed in range(3):
        random.Random(seed).shuffle(names)
        ids.add(room.send(agent, idempotency_key="order", sender=agent, metadata=dict.fromkeys(names, 1)).message.id)
    assert len(ids) == 1


def test_concurrent_sends_with_one_key_are_one_message(room: Room) -> None:
    agent = room.new_agent()

    def send(_: int) -> pb.SendMessageResponse:
        return room.send(agent, "x", sender=agent, idempotency_key="same")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(send, range(64)))
    assert len({answer.message.id for answer in answers}) == 1
    assert {answer.delivery.state for answer in answers} == {pb.DELIVERY_STATE_FILED}
    assert {answer.message.read for answer in answers} == {False}
    assert {answer.message.timestamp.ToMilliseconds() for answer in answers} == {
        answers[0].message.timestamp.ToMilliseconds()
    }
    assert room.filed(agent) == [answers[0].message.id]
    assert (room.stats(agent).total, room.stats(agent).unread) == (1, 1)


def test_one_key_twice_in_one_batch_is_one_message(room: Room) -> None:
    agent = room.new_agent()
    results = room.send_many([send_request(agent, "x", sender=agent, idempotency_key="k")] * 20)
    assert {result.ok.message.id for result in results} == set(room.filed(agent))
    assert len(room.filed(agent)) == 1
    assert {result.ok.delivery.state for result in results} == {pb.DELIVERY_STATE_FILED}
    assert {result.ok.message.read for result in results} == {False}


def test_a_repeated_send_of_a_read_message_says_read(room: Room) -> None:
    agent = room.new_agent()
    first = room.send(agent, "x", sender=agent, idempotency_key="k").message
    room.acknowledge(agent, [first.id])
    again = room.send(agent, "x", sender=agent, idempotency_key="k")
    assert again.message.id == first.id
    assert (again.delivery.state, again.message.read) == (pb.DELIVERY_STATE_READ, True)
    assert room.filed(agent) == []
    assert room.stats(agent).unread == 0


def test_a_key_of_128_printable_characters_is_accepted(room: Room) -> None:
    agent = room.new_agent()
    keys = ["k" * 128, "a b", "".join(map(chr, range(33, 127))), " "]
    ids = [[room.send(agent, "x", sender=agent, idempotency_key=key).message.id for key in keys] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4


# -- limits of a mailbox ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict_room() -> Generator[Room]:
    with running_room("--max-unread", "5", "--loop-guard", "10") as room:
        yield room


def test_a_full_mailbox_refuses_sends_until_a_message_is_read(strict_room: Room) -> None:
    room, agent = strict_room, strict_room.new_agent()
    ids = [room.send(agent, "x").message.id for _ in range(5)]
    before = room.everything_written()
    refusal = refusal_of(lambda: room.send(agent, "x"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert refusal.domain == "mailroom"
    assert agent in refusal.sentence
    assert room.everything_written() == before
    assert room.send(room.new_agent(), "others are not full")
    room.acknowledge(agent, ids[:1])
    room.send(agent, "x")
    assert refusal_of(lambda: room.send(agent, "x")).reason == "MAILBOX_FULL"


def test_a_mailbox_accepts_exactly_its_limit_from_concurrent_senders(strict_room: Room) -> None:
    room, agent = strict_room, strict_room.new_agent()
    results = room.send_many([send_request(agent, "x", sender=f"s{index}") for index in range(50)])
    assert [result.WhichOneof("result") for result in results].count("ok") == 5
    assert {result.error.reason for result in results if result.HasField("error")} == {"MAILBOX_FULL"}
    assert room.stats(agent).unread == 5
    assert len(room.filed(agent)) == 5


def test_a_repeated_send_succeeds_after_its_mailbox_became_full(strict_room: Room) -> None:
    room, agent = strict_room, strict_room.new_agent()
    first = room.send(agent, "x", sender=agent, idempotency_key="k").message
    for _ in range(4):
        room.send(agent, "x")
    assert room.send(agent, "x", sender=agent, idempotency_key="k").message.id == first.id


def test_a_message_loop_of_two_agents_is_stopped(strict_room: Room) -> None:
    room = strict_room
    ann, bob = room.new_agent(), room.new_agent()

    def answer(index: int) -> None:
        sender, recipient = (ann, bob) if index % 2 else (bob, ann)
        room.acknowledge(recipient, [room.send(recipient, "re:", sender=sender).message.id])

    for index in range(10):
        answer(index)
    refusal = refusal_of(lambda: answer(10))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOOP_GUARD")
    assert 0 < refusal.retry_after_sec <= 60
    assert ann in refusal.sentence
    assert bob in refusal.sentence
    assert room.send(ann, "from somebody else").message.id


def test_one_way_traffic_is_not_a_loop(strict_room: Room) -> None:
    room = strict_room
    ann, bob = room.new_agent(), room.new_agent()
    for _ in range(40):
        room.acknowledge(bob, [room.send(bob, "log line", sender=ann).message.id])


# -- the daemon restarts ----------------------------------------------------------------------------------------------


def test_keys_survive_the_death_of_the_daemon(room: Room) -> None:
    agent = room.new_agent()
    first = room.send(agent, "once", sender=agent, idempotency_key="k")
    message = send_request("", "all", sender=agent, idempotency_key="b")
    copies = [result.ok.message.id for result in room.broadcast([agent, "other"], message)]
    room.kill()
    room.start()
    again = room.send(agent, "once", sender=agent, idempotency_key="k")
    assert (again.message.id, again.delivery.state) == (first.message.id, pb.DELIVERY_STATE_FILED)
    assert [result.ok.message.id for result in room.broadcast([agent, "other"], message)] == copies
    refusal = refusal_of(lambda: room.send(agent, "other", sender=agent, idempotency_key="k"))
    assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    assert room.stats(agent).total == 2
    assert len(room.filed(agent)) == 2


def test_a_ttl_from_a_millisecond_to_ten_years_is_accepted(room: Room) -> None:
    for ttl_sec in (0.001, 10 * 365 * 86_400.0):
        message = room.send(room.new_agent(), "x", ttl_sec=ttl_sec).message
        lives = message.expires_at.ToMilliseconds() - message.timestamp.ToMilliseconds()
        assert lives == duration(ttl_sec).ToMilliseconds()
