"""How soon mail goes on after a fault: nothing waits for a timer of the hub, and no host for the trouble of another."""

import asyncio
import shutil
import time
from collections.abc import Iterator

import nats
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.core.host_directory import HostDirectory
from support.faults.crash_points import BEFORE, Shot
from support.faults.fuses import burnt, lay_fuses
from support.harness.daemon import short_directory
from support.harness.waiting import wait_until
from support.hosts.bed import Bed, running_bed

SOON_SEC = 25.0  # the hub repeats what was not acknowledged after 60, and a record of a host is old after 90
WAITING_BATCHES = 200  # a pull takes 64
FOREIGN_VERSION = b"\x63what a later version would send"


@pytest.fixture
def bed() -> Iterator[Bed]:
    with running_bed("a", "b", "c") as made:
        yield made


def test_mail_that_a_killed_relay_had_fetched_comes_at_once() -> None:
    with short_directory() as directory:
        made = Bed(directory, ["a", "b"])
        daemon = made.hosts["b"].daemon
        lay_fuses(daemon, {"relay": [Shot("have its items stored", BEFORE, 1)] * 3})
        try:
            made.start()
            begun = time.monotonic()
            made.send("a", "bob:b", "fetched")
            wait_until(lambda: made.hosts["b"].contents("bob") == ["fetched"], "the message has arrived", 50.0)
            assert len(burnt(daemon)) == 3
            assert time.monotonic() - begun < SOON_SEC
            made.wait_at_rest()
        finally:
            made.close()


def test_a_cluster_delivers_many_waiting_batches_without_a_pause() -> None:
    """It says that a pull is over before it sends the last batches."""
    with running_bed("a", "b", servers=3) as made:
        b = made.hosts["b"]
        b.daemon.stop()

        def sends_many() -> bool:
            made.send("a", "bob:b", f"{len(made.accepted)}")
            return made.broker.streams()[f"MAIL_{made.hub.shard}"] >= WAITING_BATCHES

        wait_until(sends_many, "many batches wait at the hub", 60.0)
        b.daemon.start()
        begun = time.monotonic()
        wait_until(lambda: len(b.contents("bob")) == len(made.accepted), "all have arrived", 90.0)
        assert time.monotonic() - begun < SOON_SEC
        made.wait_at_rest()


def test_mail_that_the_hub_lost_is_sent_again_while_that_of_another_host_waits(bed: Bed) -> None:
    """A batch of c cannot be read, and stays; b is nevertheless idle as far as a is concerned."""
    publish(bed, f"mail.{bed.hub.shard}.b.c", FOREIGN_VERSION)
    wait_until(lambda: "batch of a newer version waits" in bed.hosts["b"].daemon.log(), "b cannot read it")
    bed.hosts["b"].daemon.stop()
    (sent,) = bed.send("a", "bob:b", "lost at the hub")
    client = bed.hosts["a"].client
    wait_until(lambda: client.state(sent.message.id) == pb.DELIVERY_STATE_FORWARDED, "it has left")
    wait_until(lambda: bed.broker.streams()[f"MAIL_{bed.hub.shard}"] == 2, "the hub has it")
    publish(bed, f"$JS.API.STREAM.PURGE.MAIL_{bed.hub.shard}", f'{{"filter": "mail.{bed.hub.shard}.b.a"}}'.encode())
    bed.hosts["b"].daemon.start()
    wait_until(lambda: bed.hosts["b"].contents("bob") == ["lost at the hub"], "it has arrived", 60.0)


def test_hosts_write_their_records_again_after_the_hub_has_lost_them(bed: Bed) -> None:
    bed.broker.lose_store()
    bed.broker.start()
    wait_until(lambda: bed.broker.streams().get("KV_hosts") == 3, "each host has a record", 60.0)
    bed.send("a", "bob:b", "afterwards")
    bed.wait_at_rest()


def test_a_machine_that_was_started_anew_is_not_taken_for_another(bed: Bed) -> None:
    """After a restart of the machine its record is that of another one, which does not answer any more."""
    daemon = bed.hosts["b"].daemon
    daemon.kill_supervisor()
    shutil.copytree(daemon.state_dir, daemon.directory / "new", symlinks=True)
    shutil.rmtree(daemon.state_dir)
    (daemon.directory / "new").rename(daemon.state_dir)
    daemon.start()
    begun = time.monotonic()
    bed.send("a", "bob:b", "after the restart")
    wait_until(lambda: bed.hosts["b"].contents("bob") == ["after the restart"], "the message has arrived", 60.0)
    assert time.monotonic() - begun < SOON_SEC
    assert HostDirectory(daemon.state_dir).content().problem == ""


def publish(bed: Bed, subject: str, data: bytes) -> None:
    """Publishes as somebody who may do everything at the hub."""
    config = bed.broker.config
    if "user: admin," not in config.read_text():
        config.write_text(config.read_text().replace("users: [", "users: [\n    { user: admin, password: admin }"))
        bed.broker.reload()
        wait_until(lambda: "Reloaded server configuration" in bed.broker.log.read_text(), "the hub knows the user")

    async def run() -> None:
        client = await nats.connect(bed.broker.url, user="admin", password="admin")  # pyright: ignore[reportUnknownMemberType]
        answer = await client.request(subject, data, timeout=5.0)
        assert b"error" not in answer.data, answer.data
        await client.close()

    asyncio.run(run())
