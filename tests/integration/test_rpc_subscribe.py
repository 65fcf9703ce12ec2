"""Subscribe of a real daemon: replay, live events, the change between them, presence, slow and abandoned streams."""

import random
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Stream, connect, refusal_of
from support.harness.contract import blocking_stubs, events_of
from support.harness.deployment import Deployment, running_deployment
from support.harness.waiting import wait_until

FIRST_ID = "0" * 15 + "1"  # before every message
BATCHES = pytest.mark.parametrize("max_batch", [0, 7, 1000])
BATCH_BYTES = 256 << 10  # of events in one response: the contract's limit


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


def ids_of(messages: list[pb.Message]) -> list[str]:
    return [message.id for message in messages]


# -- live -------------------------------------------------------------------------------------------------------------


def test_a_live_stream_gets_new_messages_only(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    deployment.send(agent, "before")
    stream = deployment.live(agent)
    sent = [deployment.send(agent, f"mail {index}", metadata={"n": index}).message for index in range(10)]
    deployment.send(deployment.new_agent(), "for somebody else")
    for message in stream.messages(10):
        expected = sent.pop(0)
        assert message.state in (pb.DELIVERY_STATE_FILED, pb.DELIVERY_STATE_OFFERED)
        message.state = expected.state
        assert message == expected
    stream.cancel()


def test_every_subscriber_of_an_agent_gets_every_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    streams = [deployment.live(agent) for _ in range(5)]
    ids = [deployment.send(agent, "x").message.id for _ in range(20)]
    assert [ids_of(stream.messages(20)) for stream in streams] == [ids] * 5
    for stream in streams:
        stream.cancel()


def test_caught_up_is_sent_once_even_without_a_replay(deployment: Deployment) -> None:
    agent, empty = deployment.new_agent(), deployment.new_agent()
    ids = [deployment.send(agent, "x").message.id for _ in range(3)]
    cases: list[tuple[Stream, list[str]]] = [
        (deployment.subscribe(empty), []),
        (deployment.subscribe(empty, include_unread=True), []),
        (deployment.subscribe(empty, after_id=FIRST_ID), []),
        (deployment.subscribe(agent), []),
        (deployment.subscribe(agent, after_id=ids[-1]), []),
        (deployment.subscribe(agent, after_id=ids[0]), ids[1:]),
        (deployment.subscribe(agent, after_id=FIRST_ID), ids),
        (deployment.subscribe(agent, include_unread=True), ids),
    ]
    for stream, replayed in cases:
        messages, last_id = stream.until_caught_up()
        assert ids_of(messages) == replayed
        assert last_id >= ids[-1]
    live = [deployment.send(to, "live").message.id for to in (agent, empty, agent, empty)]
    for index, (stream, _) in enumerate(cases):
        assert ids_of(stream.messages(2)) == (live[1::2] if index < 3 else live[::2])
        stream.cancel()


def test_a_stream_resumes_from_caught_up_without_gap_or_repeat(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    deployment.send(agent, "seen")
    first = deployment.subscribe(agent, after_id=FIRST_ID)
    _, last_id = first.until_caught_up()
    first.cancel()
    missed = [deployment.send(agent, "missed").message.id for _ in range(3)]
    second = deployment.subscribe(agent, after_id=last_id)
    assert ids_of(second.until_caught_up()[0]) == missed
    second.cancel()


def test_a_stream_resumes_after_any_event_even_of_another_mailbox(deployment: Deployment) -> None:
    agent, other = deployment.new_agent(), deployment.new_agent()
    ids = [deployment.send((agent, other)[index % 2], "x").message.id for index in range(10)]
    for index, after_id in enumerate(ids):
        stream = deployment.subscribe(agent, after_id=after_id)
        assert ids_of(stream.until_caught_up()[0]) == [
            message_id for message_id in ids[index + 1 :] if message_id in ids[::2]
        ]
        stream.cancel()


def test_an_id_that_was_never_issued_is_refused_and_the_newest_is_not(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    newest = deployment.send(agent, "before").message.id
    for after_id in ("7" + "f" * 15, f"{int(newest, 16) + (1 << 40):016x}"):
        refusal = refusal_of(deployment.subscribe(agent, after_id=after_id).next)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "AFTER_ID_INVALID")
        assert refusal.field == "after_id"
    stream = deployment.subscribe(agent, after_id=newest)
    _, last_id = stream.until_caught_up()
    later = deployment.send(agent, "later").message.id
    assert stream.messages(1)[0].id == later
    stream.cancel()
    stream = deployment.subscribe(agent, after_id=last_id)
    assert stream.messages(1)[0].id == later
    stream.cancel()


def test_include_unread_replays_only_unread_messages(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = [deployment.send(agent, "x").message.id for _ in range(6)]
    deployment.acknowledge(agent, [ids[0], ids[2], ids[5]])
    deployment.check(agent)  # handing over is not reading
    stream = deployment.subscribe(agent, include_unread=True)
    assert ids_of(stream.until_caught_up()[0]) == [ids[1], ids[3], ids[4]]
    assert stream.messages(1) if deployment.send(agent, "live") else None
    stream.cancel()


@BATCHES
def test_include_unread_replays_thousands_in_order(deployment: Deployment, max_batch: int) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1100)
    read = ids[100:1000:7]
    for start in range(0, len(read), 1000):
        deployment.acknowledge(agent, read[start : start + 1000])
    stream = deployment.subscribe(agent, include_unread=True, max_batch=max_batch)
    assert ids_of(stream.until_caught_up()[0]) == [message_id for message_id in ids if message_id not in set(read)]
    stream.cancel()


@BATCHES
def test_after_id_replays_thousands_in_order(deployment: Deployment, max_batch: int) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1100)
    stream = deployment.subscribe(agent, after_id=ids[9], max_batch=max_batch)
    assert ids_of(stream.until_caught_up()[0]) == ids[10:]
    stream.cancel()


# -- gaps and repeats -------------------------------------------------------------------------------------------------


def test_streams_that_join_under_load_have_no_gap_and_no_repeat(deployment: Deployment) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    agent, other, senders, each = deployment.new_agent(), deployment.new_agent(), 4, 120
    known: list[str] = [deployment.send(agent, "first").message.id]
    joins = sorted(chance.randrange(1, senders * each // 2) for _ in range(12))

    def send(index: int) -> None:
        with connect(deployment.target) as client:
            for count in range(each):
                known.append(client.send(agent, "x", sender=f"sender-{index}").message.id)
                if count % 5 == 0:
                    client.send(other, "noise", sender=f"sender-{index}")

    def watch(joins_at: int) -> tuple[str, list[pb.SubscribeResponse]]:
        wait_until(lambda: len(known) > joins_at, f"{joins_at} messages are sent")
        after_id = chance.choice(known[:])
        with connect(deployment.target) as client:
            max_batch = chance.choice((0, 3, 1000))
            stream = client.subscribe(agent, after_id=after_id, observe=joins_at % 2 == 0, max_batch=max_batch)
            events: list[pb.SubscribeResponse] = []
            while not events or events[-1].message.content != "last":
                events.append(stream.next())
            stream.cancel()
        return after_id, events

    with ThreadPoolExecutor(senders + len(joins)) as threads:
        watching = [threads.submit(watch, join) for join in joins]
        for sending in [threads.submit(send, index) for index in range(senders)]:
            sending.result()
        known.append(deployment.send(agent, "last").message.id)
        watched = [future.result() for future in watching]
    everything = sorted(known)
    for after_id, events in watched:
        seen = [event.message.id for event in events if event.HasField("message")]
        assert seen == [message_id for message_id in everything if message_id > after_id]
        (caught_up,) = [index for index, event in enumerate(events) if event.HasField("caught_up")]
        last_id = events[caught_up].caught_up.last_id
        assert all(event.event_id <= last_id for event in events[:caught_up])
        assert all(event.event_id > last_id for event in events[caught_up + 1 :])


def test_all_agents_streams_every_mailbox_in_id_order_under_load(deployment: Deployment) -> None:
    stream = deployment.live(all_agents=True)
    agents = [deployment.new_agent() for _ in range(5)]

    def send(index: int) -> list[str]:
        with connect(deployment.target) as client:
            return [client.send(agents[(index + count) % 5], "x").message.id for count in range(100)]

    with ThreadPoolExecutor(4) as threads:
        sent = sorted(message_id for ids in threads.map(send, range(4)) for message_id in ids)
    assert ids_of(stream.messages(400)) == sent
    stream.cancel()
    replay = deployment.subscribe(all_agents=True, after_id=sent[99])
    assert ids_of(replay.until_caught_up()[0]) == sent[100:]
    replay.cancel()


@BATCHES
def test_a_slow_subscriber_misses_nothing(deployment: Deployment, max_batch: int) -> None:
    agent = deployment.new_agent()
    with connect(deployment.target) as slow:
        stream = slow.live(agent, max_batch=max_batch)
        dashboard = slow.live(all_agents=True, max_batch=max_batch)
        ids = [
            deployment.send(agent, "x" * 500_000).message.id for _ in range(40)
        ]  # more than the buffers on the way hold
        assert deployment.state(ids[-1]) == pb.DELIVERY_STATE_FILED
        assert ids_of(stream.messages(40)) == ids
        assert ids_of(dashboard.messages(40)) == ids
        wait_until(lambda: deployment.state(ids[-1]) == pb.DELIVERY_STATE_OFFERED, "the last one is offered")


# -- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [{"after_id": FIRST_ID}, {"include_unread": True}], ids=["after_id", "unread"])
def test_a_replay_in_batches_takes_few_responses_of_the_size_asked_for(
    deployment: Deployment, start: dict[str, Any]
) -> None:
    agent = deployment.new_agent()
    ids = deployment.fill(agent, 1000)
    stream = deployment.subscribe(agent, max_batch=50, **start)
    assert ids_of(stream.until_caught_up()[0]) == ids
    assert max(stream.responses) == 50
    assert len(stream.responses) < 100
    stream.cancel()


def test_a_client_that_asks_for_no_batches_gets_one_event_with_each_response(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    deployment.fill(agent, 200)
    streams = [deployment.subscribe(agent, after_id=FIRST_ID, max_batch=max_batch) for max_batch in (0, 1)]
    live = deployment.fill(agent, 200)
    for stream in streams:
        while stream.next().event_id != live[-1]:
            pass
        assert set(stream.responses) == {1}
        stream.cancel()


def test_a_lone_event_waits_for_no_other_and_comes_as_without_batches(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent, max_batch=1000)
    for _ in range(5):
        sent = deployment.send(agent, "alone").message.id
        assert stream.messages(1)[0].id == sent
    assert set(stream.responses) == {1}
    stream.cancel()


def test_a_batch_stays_far_below_what_a_client_accepts(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    numbers = {"a": list(range(10, 22)) * 900}  # 32 KB as JSON, 140 KB in the contract's form
    sent = [deployment.send(agent, "x" * 1000 * (count % 3), metadata=numbers).message for count in range(60)]
    sent.append(deployment.send(agent, "x" * (1 << 20)).message)
    channel, calls = blocking_stubs(deployment.target)  # which accepts 4 MiB
    with channel:
        stream = calls.subscribe(pb.SubscribeRequest(agent=agent, include_unread=True, max_batch=1000), timeout=30)
        received: list[pb.Message] = []
        for response in stream:
            events = events_of(response)
            assert len(events) == 1 or sum(event.ByteSize() for event in events) <= BATCH_BYTES
            received += [event.message for event in events if event.HasField("message")]
            if response.HasField("caught_up"):
                break
        stream.cancel()
    assert [(message.id, message.metadata) for message in received] == [(one.id, one.metadata) for one in sent]


def test_only_messages_that_were_written_are_marked_offered(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    ids = [deployment.send(agent, "x" * 100_000).message.id for _ in range(200)]  # more than is on the way at a time
    fixed_window = [("grpc.http2.bdp_probe", 0)]  # otherwise gRPC takes more and more of a stream that nobody reads
    with connect(deployment.target, more_options=fixed_window) as slow:
        stream = slow.subscribe(agent, include_unread=True, max_batch=1000)
        assert ids_of(stream.messages(40)) == ids[:40]
        wait_until(lambda: deployment.state(ids[0]) == pb.DELIVERY_STATE_OFFERED, "the first one is offered")
        assert deployment.state(ids[-1]) == pb.DELIVERY_STATE_FILED
        rest, last_id = stream.until_caught_up()
        assert ids_of(rest) == ids[40:], f"caught up with {last_id}"
        wait_until(lambda: deployment.state(ids[-1]) == pb.DELIVERY_STATE_OFFERED, "the last one is offered")


# -- presence ---------------------------------------------------------------------------------------------------------


def test_a_stream_marks_its_messages_offered(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    old = deployment.send(agent, "old").message.id
    stream = deployment.subscribe(agent, include_unread=True)
    stream.until_caught_up()
    new = deployment.send(agent, "new").message.id
    stream.messages(1)
    for message_id in (old, new):
        wait_until(
            lambda message_id=message_id: deployment.state(message_id) == pb.DELIVERY_STATE_OFFERED, "it is offered"
        )
    offered = [pb.DELIVERY_STATE_OFFERED] * 2
    wait_until(
        lambda: [message.state for message in deployment.check(agent).messages] == offered, "the table says so, too"
    )
    assert deployment.check(agent, unoffered_only=True).messages == []
    assert deployment.filed(agent) == [old, new]
    stream.cancel()


def test_a_present_observer_counts_as_a_subscriber_and_marks_nothing_offered(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent, observe=True, present=True)
    sent = deployment.send(agent, "go")
    assert (sent.delivery.subscribers, sent.delivery.recipient_known) == (1, True)
    assert stream.next().message.id == sent.message.id
    assert deployment.get(sent.message.id).message.state == pb.DELIVERY_STATE_FILED
    stream.cancel()


def test_an_observer_gets_previews_and_another_one_the_whole_message(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    short, whole = deployment.live(all_agents=True, preview_bytes=5), deployment.live(agent, observe=True)
    sent = deployment.send(agent, "\u00e4" * 10, metadata={"a": 1}).message.id
    (preview,), (message,) = short.messages(1), whole.messages(1)
    assert (preview.id, preview.content, preview.content_size) == (sent, "\u00e4" * 2, 20)
    assert not preview.HasField("metadata")
    assert (message.content, message.content_size, message.metadata["a"]) == ("\u00e4" * 10, 0, 1)
    replay = deployment.subscribe(agent, observe=True, after_id=FIRST_ID, preview_bytes=20)
    (fits,) = replay.until_caught_up()[0]
    assert (fits.content, fits.content_size) == ("\u00e4" * 10, 0)
    for stream in (short, whole, replay):
        stream.cancel()
    assert deployment.state(sent) == pb.DELIVERY_STATE_FILED


def test_observers_mark_nothing_offered_and_do_not_count_as_subscribers(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    streams = [deployment.live(agent, observe=True), deployment.live(all_agents=True)]
    sent = deployment.send(agent, "x")
    assert sent.delivery.subscribers == 0
    for stream in streams:
        assert stream.messages(1)[0].id == sent.message.id
    assert deployment.stats(agent).subscribers == 0
    assert not deployment.stats(agent).HasField("last_seen")
    marker = deployment.send(agent, "offered only after the observers have read it")
    for stream in streams:
        stream.messages(1)
        stream.cancel()
    deployment.mark_offered(agent, [marker.message.id])
    assert deployment.state(sent.message.id) == pb.DELIVERY_STATE_FILED
    assert ids_of(list(deployment.check(agent, unoffered_only=True).messages)) == [sent.message.id]


def test_a_subscriber_counts_while_its_stream_lasts(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    wait_until(lambda: deployment.stats(agent).subscribers == 1, "it is counted")
    assert deployment.stats(agent).HasField("last_seen")
    stream.cancel()
    wait_until(lambda: deployment.stats(agent).subscribers == 0, "it is gone")
    assert deployment.send(agent, "x").delivery.recipient_known


def test_abandoned_streams_are_cleaned_up(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    with connect(deployment.target) as client:
        streams = [client.subscribe(agent) for _ in range(50)]  # some are gone before they are answered
        for stream in streams[:10]:
            stream.until_caught_up()
        for stream in streams[::2]:
            stream.cancel()
        wait_until(lambda: deployment.stats(agent).subscribers == 25, "every other one is gone")
    wait_until(lambda: deployment.stats(agent).subscribers == 0, "all of them are gone")


def test_streams_of_a_client_that_stalled_and_died_are_cleaned_up(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    with connect(deployment.target) as client:
        streams = [client.live(agent) for _ in range(3)]
        deployment.fill(agent, 60, "x" * 200_000)
        assert deployment.stats(agent).subscribers == len(streams)
    wait_until(lambda: deployment.stats(agent).subscribers == 0, "they are gone")


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "AGENT_INVALID", "agent"),
        ({"agent": "../x"}, "AGENT_INVALID", "agent"),
        ({"agent": "a", "all_agents": True}, "OPTIONS_CONFLICT", "all_agents"),
        ({"all_agents": True, "include_unread": True}, "OPTIONS_CONFLICT", "all_agents"),
        ({"agent": "a", "after_id": FIRST_ID, "include_unread": True}, "OPTIONS_CONFLICT", "after_id"),
        ({"agent": "a", "after_id": "yesterday"}, "AFTER_ID_INVALID", "after_id"),
        ({"all_agents": True, "after_id": "f" * 16}, "AFTER_ID_INVALID", "after_id"),
        ({"agent": "a", "max_batch": -1}, "LIMIT_INVALID", "max_batch"),
        ({"agent": "a", "preview_bytes": 5}, "OPTIONS_CONFLICT", "preview_bytes"),
        ({"agent": "a", "present": True, "preview_bytes": 5}, "OPTIONS_CONFLICT", "preview_bytes"),
        ({"agent": "a", "observe": True, "preview_bytes": -1}, "LIMIT_INVALID", "preview_bytes"),
    ],
)
def test_invalid_subscriptions_are_refused(
    deployment: Deployment, fields: dict[str, Any], reason: str, field: str
) -> None:
    refusal = refusal_of(lambda: deployment.subscribe(**fields).next())
    assert (refusal.code, refusal.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "mailroom")
    assert (refusal.reason, refusal.field) == (reason, field)


# -- more than the table holds ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_deployment() -> Generator[Deployment]:
    with running_deployment("--table-size", "8MiB") as deployment:
        yield deployment


def test_evicted_messages_are_replayed_without_a_gap(small_deployment: Deployment) -> None:
    deployment, agents = small_deployment, [small_deployment.new_agent() for _ in range(2)]
    ids: list[list[str]] = [[], []]
    for index in range(60):
        ids[index % 2].append(deployment.send(agents[index % 2], "x" * 300_000, metadata={"n": index}).message.id)
    everything = sorted(ids[0] + ids[1])
    done = threading.Event()
    live: list[list[str]] = [[], []]

    def send_on() -> None:
        while not done.is_set() and len(live[0]) < 200:
            for index in range(2):
                live[index].append(deployment.send(agents[index], "x" * 50_000).message.id)

    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send_on)
        streams = [
            deployment.subscribe(agents[0], after_id=FIRST_ID),
            deployment.subscribe(agents[0], after_id=ids[0][3], max_batch=1000),
            deployment.subscribe(agents[1], include_unread=True, max_batch=3),
            deployment.subscribe(all_agents=True, after_id=everything[0], max_batch=1000),
        ]
        replayed = [ids_of(stream.until_caught_up()[0]) for stream in streams]
        done.set()
        sending.result()
    expected = [ids[0] + live[0], ids[0][4:] + live[0], ids[1] + live[1], sorted(everything[1:] + live[0] + live[1])]
    for stream, seen, all_of_it in zip(streams, replayed, expected, strict=True):
        rest = ids_of(stream.messages(len(all_of_it) - len(seen)))
        assert seen + rest == all_of_it
        stream.cancel()


def test_a_subscriber_far_behind_catches_up_from_the_database(small_deployment: Deployment) -> None:
    deployment, agent = small_deployment, small_deployment.new_agent()
    with connect(deployment.target) as slow:
        streams = [slow.live(agent), slow.live(all_agents=True, max_batch=1000)]
        ids = [deployment.send(agent, "x" * 600_000).message.id for _ in range(40)]  # three times the table
        for stream in streams:
            assert ids_of(stream.messages(40)) == ids
