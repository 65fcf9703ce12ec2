"""Many senders, many subscribers, and some that behave badly: everybody else is served, and memory comes back.

`make test` takes a tenth of the streams, subscribers and senders that `make faults` does, and seconds for a minute.
"""

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.flood import FloodPlan, flood
from support.faults.footprint import Footprint, footprint
from support.harness.client import SERVICE, connect
from support.harness.deployment import Deployment, running_deployment
from support.harness.raw_http2 import DATA, END_STREAM, RawConnection, frame, grpc_body, raw_connection
from support.harness.raw_streams import raw_streams
from support.harness.waiting import is_campaign, pause, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

IS_LONG = is_campaign()
FLOOD = 500  # sends that the one who floods has under way
IDLE_STREAMS = 10_000 if IS_LONG else 1000
STREAM_BYTES = 80_000  # of the gateway's memory for an idle stream, at most
SENDERS, SUBSCRIBERS, LASTS_SEC = (200, 2000, 60.0) if IS_LONG else (40, 200, 2.0)
MEGABYTES = 200 if IS_LONG else 30  # sent to subscribers that do not read
STALLED_BYTES = 24 << 20  # that they may cost, all together: what HTTP/2 and one page of each stream hold


def gateway(deployment: Deployment) -> Footprint:
    return footprint([psutil.Process(deployment.pid_of("gateway"))])


def test_who_floods_one_mailbox_lets_others_through() -> None:
    with running_deployment("--stuck-after", "60") as deployment, connect(deployment.target) as client:
        client.stats("calm")  # calls that wait for a connection are not made in their order
        with deployment.stopped(deployment.pid_of("command-queue")):  # so that everything waits, and the order shows
            early = client.start_send("calm", "the first", sender="calm")
            client.stats("calm")  # behind it: the gateway has taken it in
            flood_of = [client.start_send("victim", sender="flood") for _ in range(FLOOD)]
            for _ in range(3):
                client.stats("victim")  # behind the flood, likewise
            late = client.start_send("calm", "the last", sender="calm")
            client.stats("victim")
        assert early.result().message.id < late.result().message.id
        own = late.result().message.id
        passed = sum(one.result().message.id < own for one in flood_of)
        print(f"{passed} of a flood of {FLOOD} that came before it passed a single send")
        assert passed < FLOOD / 4


def test_idle_streams_cost_little_and_nothing_afterwards() -> None:
    with running_deployment("--owner-streams", "20000") as deployment:
        with raw_streams(deployment.target, ["warm"] * 100):
            pass
        wait_until(lambda: deployment.stats("warm").subscribers == 0, "they are gone")
        before = gateway(deployment)
        with raw_streams(deployment.target, [f"idle-{number % 100}" for number in range(IDLE_STREAMS)]) as streams:
            during = gateway(deployment)
            sent = deployment.send("idle-7", "to all that listen").message.id
            wait_until(lambda: sum(sent in seen for seen in streams.seen) == IDLE_STREAMS // 100, "all hear it")
        wait_until(lambda: deployment.stats("idle-7").subscribers == 0, "they are gone")
        each = (during.memory_bytes - before.memory_bytes) / IDLE_STREAMS
        half = (before.memory_bytes + during.memory_bytes) / 2
        wait_until(lambda: gateway(deployment).memory_bytes < half, "memory goes back")
        after = gateway(deployment)
        print(f"{IDLE_STREAMS} idle streams: {each / 1000:.1f} kB each; before {before}, then {during}, after {after}")
        assert each < STREAM_BYTES
        assert (after.descriptors, after.threads) <= (before.descriptors + 5, before.threads + 5)


def never_read(raw: RawConnection) -> None:
    pass


def read_a_byte(raw: RawConnection) -> None:
    raw.socket.recv(1)


@pytest.mark.parametrize("read", [never_read, read_a_byte])
def test_a_subscriber_that_hardly_reads_holds_up_nobody_and_costs_what_a_page_does(
    read: Callable[[RawConnection], None],
) -> None:
    with running_deployment() as deployment, ExitStack() as opened:
        stalled = [opened.enter_context(raw_connection(deployment.target)) for _ in range(10)]
        for number, raw in enumerate(stalled):
            raw.begin()
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.call(SERVICE + "Subscribe")
            request = pb.SubscribeRequest(agent="abc", max_batch=number % 2 * 1000)  # one event each, and batches
            raw.say(frame(DATA, END_STREAM, 1, grpc_body(request.SerializeToString())))
        wait_until(lambda: deployment.stats("abc").subscribers == len(stalled), "they subscribe")
        reader = deployment.live("abc", observe=True)
        deployment.send("abc", "warm " * 20_000)
        reader.messages(1)
        before = gateway(deployment)
        for _ in range(MEGABYTES):
            sent = deployment.fill("abc", 10, "{}" + "x" * 100_000)
            assert [one.id for one in reader.messages(10)] == sent
            for raw in stalled:
                read(raw)
        after = gateway(deployment)
        print(f"{MEGABYTES} MB to {len(stalled)} that hardly read: before {before}, after {after}")
        assert after.memory_bytes - before.memory_bytes < STALLED_BYTES
        reader.cancel()


def test_many_senders_reach_many_subscribers_with_everything_once_and_in_order() -> None:
    mailboxes = SENDERS
    with running_deployment("--max-unread", "10000000") as deployment:
        deployment.send("m0", "warm")
        agents = [f"m{number % mailboxes}" for number in range(SUBSCRIBERS)]
        with raw_streams(deployment.target, agents) as streams:
            with flood(FloodPlan(deployment.target, SENDERS, mailboxes, size=20, pause_sec=SENDERS / 1000)) as flooding:
                pause(LASTS_SEC)
            stored: dict[str, list[str]] = {name: [] for name in agents}
            for name, number in deployment.query(
                "SELECT recipient, id FROM messages WHERE sender <> 'tester' ORDER BY id"
            ):
                stored[name].append(f"{number:016x}")
            total = sum(map(len, stored.values()))
            assert total >= flooding.acknowledged > 0
            wait_until(
                lambda: Counter(map(len, streams.seen)) == Counter(len(stored[name]) for name in agents),
                "everybody has everything",
                60.0,
            )
            assert streams.seen == [stored[name] for name in agents]
        handed = sum(map(len, streams.seen))
        print(f"{flooding.acknowledged} sends of {SENDERS}, {handed} deliveries to {SUBSCRIBERS} subscribers")
