"""Whatever is killed, stopped or emptied between two hosts, each message arrives once and in order."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator

import nats
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.waiting import pause, wait_until
from support.hosts.bed import Bed, running_bed

ADMIN = "admin"  # a user of the hub that may do everything


@pytest.fixture
def bed() -> Iterator[Bed]:
    with running_bed("a", "b") as made:
        yield made


def flow(bed: Bed, label: str, count: int = 40) -> None:
    """Sends in both directions."""
    bed.send("a", "bob:b", *(f"{label} a{number}" for number in range(count)))
    bed.send("b", "ann:a", *(f"{label} b{number}" for number in range(count)))


def kill_worker(bed: Bed, host: str, worker: str) -> None:
    daemon = bed.hosts[host].daemon
    before = daemon.signal_workers([worker], signal.SIGKILL)
    daemon.wait_replaced(before)


def kill_daemon(bed: Bed, host: str) -> None:
    bed.hosts[host].daemon.kill_supervisor()
    bed.hosts[host].daemon.start()


def kill_broker(bed: Bed) -> None:
    bed.broker.kill()
    flow(bed, "without a hub", 5)
    bed.broker.start()


def lose_store(bed: Bed) -> None:
    bed.broker.lose_store()
    bed.broker.start()


def stop_broker(bed: Bed) -> None:
    bed.broker.pause()
    flow(bed, "while the hub hangs", 5)
    pause(3.0)
    bed.broker.resume()


FAULTS: dict[str, Callable[[Bed], None]] = {
    "relay of a": lambda bed: kill_worker(bed, "a", "relay"),
    "relay of b": lambda bed: kill_worker(bed, "b", "relay"),
    "mailbox of b": lambda bed: kill_worker(bed, "b", "mailbox"),
    "command-queue of a": lambda bed: kill_worker(bed, "a", "command-queue"),
    "command-queue of b": lambda bed: kill_worker(bed, "b", "command-queue"),
    "daemon a": lambda bed: kill_daemon(bed, "a"),
    "daemon b": lambda bed: kill_daemon(bed, "b"),
    "broker": kill_broker,
    "store of the broker": lose_store,
    "broker hangs": stop_broker,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_mail_arrives_once_and_in_order_in_spite_of(bed: Bed, fault: str) -> None:
    flow(bed, "before")
    FAULTS[fault](bed)
    flow(bed, "after")
    bed.wait_at_rest()


def test_mail_waits_for_a_host_that_is_off(bed: Bed) -> None:
    bed.hosts["b"].daemon.stop()
    sent = bed.send("a", "bob:b", *(f"{number}" for number in range(50)))
    client = bed.hosts["a"].client
    last = sent[-1].message.id
    wait_until(lambda: client.get(last).delivery.state == pb.DELIVERY_STATE_FORWARDED, "the last one has left")
    pause(1.0)  # the hub has it now
    bed.hosts["a"].daemon.stop()
    bed.hosts["b"].daemon.start()
    wait_until(lambda: len(bed.hosts["b"].contents("bob")) == 50, "all have arrived from the hub")
    bed.hosts["a"].daemon.start()
    bed.wait_at_rest()


def test_a_restored_sender_loses_and_doubles_nothing(bed: Bed) -> None:
    """Its database is put back as it was, under its daemon's feet, and its old ids come again."""
    bed.send("a", "bob:b", "first")
    bed.wait_at_rest()
    host = bed.hosts["a"]
    host.daemon.stop()
    backup = host.daemon.database.read_bytes()
    host.daemon.start()
    bed.send("a", "bob:b", "second")
    bed.wait_at_rest()
    host.daemon.stop()
    host.daemon.database.write_bytes(backup)
    host.daemon.start()
    bed.send("a", "bob:b", "third")
    wait_until(lambda: not host.waiting(), "nothing waits", 60.0)
    wait_until(lambda: bed.hosts["b"].contents("bob") == ["first", "second", "third"], "each has arrived once")


def test_a_restored_recipient_gets_what_its_sender_still_has(bed: Bed) -> None:
    host = bed.hosts["b"]
    bed.send("a", "bob:b", "first")
    bed.wait_at_rest()
    host.daemon.stop()
    backup = host.daemon.database.read_bytes()
    host.daemon.start()
    bed.send("a", "bob:b", "second")
    bed.wait_at_rest()
    host.daemon.stop()
    host.daemon.database.write_bytes(backup)
    bed.send("a", "bob:b", "third")
    host.daemon.start()
    wait_until(lambda: host.contents("bob") == ["first", "third"], "the link goes on", 60.0)


async def move_consumer_forward(bed: Bed, host: str) -> None:
    """Moves the consumer of a host behind everything that its stream holds, as power cuts of a server have done."""
    client = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
        bed.broker.url, user=ADMIN, password=ADMIN
    )
    stream = f"MAIL_{bed.hub.shard}"
    info = json.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)
    body = json.dumps({"seq": info["state"]["last_seq"] + 1}).encode()
    answer = json.loads((await client.request(f"$JS.API.CONSUMER.RESET.{stream}.{host}", body)).data)
    assert "error" not in answer, answer
    await client.close()


def test_a_consumer_that_passes_over_mail_is_made_anew(bed: Bed) -> None:
    config = bed.broker.config.read_text()
    bed.broker.config.write_text(
        config.replace("users: [", f'users: [\n    {{ user: "{ADMIN}", password: "{ADMIN}" }}')
    )
    bed.broker.reload()
    bed.hosts["b"].daemon.stop()
    sent = bed.send("a", "bob:b", "passed over")
    client = bed.hosts["a"].client
    wait_until(
        lambda: client.get(sent[0].message.id).delivery.state == pb.DELIVERY_STATE_FORWARDED, "the message has left"
    )
    wait_until(lambda: bed.broker.streams().get("MAIL_main-0"), "the hub has it")
    bed.hosts["a"].daemon.stop()
    asyncio.run(move_consumer_forward(bed, "b"))
    bed.hosts["b"].daemon.start()
    wait_until(lambda: bed.hosts["b"].contents("bob") == ["passed over"], "it has arrived", 60.0)
    bed.hosts["a"].daemon.start()
    bed.wait_at_rest()
