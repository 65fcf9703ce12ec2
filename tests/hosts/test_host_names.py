"""A name on the hub belongs to one machine: a copy of its disk is stopped, and mail of the original goes on."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager

import nats
import pytest
from mailroomd.core.host_directory import HostDirectory
from mailroomd.operator.hub.server_config import OPERATOR
from mailroomd.relay.hub import MAX_ANSWERS, Hub, OnMessage
from mailroomd.relay.hub_file import read_hub_file
from support.harness.daemon import short_directory
from support.harness.waiting import BOUND_SEC, wait_until
from support.hosts.bed import Bed, Host, running_bed


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with running_bed("a", "b") as made:
        yield made


@contextmanager
def running_copy(of: Host) -> Generator[Host]:
    """Yields a second host with another one's name and key."""
    with short_directory() as directory:
        copy = Host(of.name, directory / "copy")
        copy.daemon.state_dir.mkdir(mode=0o700)
        shutil.copy(of.daemon.state_dir / "hub.json", copy.daemon.state_dir / "hub.json")
        copy.daemon.flags = ("--hub", str(copy.daemon.state_dir / "hub.json"))
        copy.daemon.start()
        try:
            yield copy
        finally:
            copy.client.close()
            copy.daemon.kill_everything()


def is_stopped(host: Host) -> bool:
    return "HOST_TAKEN" in HostDirectory(host.daemon.state_dir).content().problem


def test_a_copy_of_a_host_is_stopped_and_its_own_mail_goes_on(bed: Bed) -> None:
    with running_copy(bed.hosts["b"]) as copy:
        wait_until(lambda: is_stopped(copy), "the copy is stopped")
        copy.client.send("bob", "local", sender="amy")
        assert copy.contents("bob") == ["local"]
        bed.send("a", "bob:b", "for the original")
        bed.wait_at_rest()
        assert copy.contents("bob") == ["local"]


def test_a_copy_is_stopped_although_the_hub_has_lost_the_record_of_the_original(bed: Bed) -> None:
    async def forget_until_the_copy_has_decided(copy: Host) -> None:
        admin = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
            bed.broker.url, user=OPERATOR, password=bed.hub.operator, inbox_prefix=f"_INBOX_{OPERATOR}".encode()
        )
        while not HostDirectory(copy.daemon.state_dir).content().contact_ms and not is_stopped(copy):
            await admin.request("$JS.API.STREAM.PURGE.KV_alive", b"")
            await asyncio.sleep(0.05)
        await admin.close()

    with running_copy(bed.hosts["b"]) as copy:
        asyncio.run(asyncio.wait_for(forget_until_the_copy_has_decided(copy), BOUND_SEC))
        assert is_stopped(copy)


@asynccontextmanager
async def connected(host: Host, on_ask: OnMessage) -> AsyncGenerator[Hub]:
    """Yields a second connection of a host to the hub."""

    async def ignore(_: str) -> None: ...

    hub = Hub(read_hub_file(host.daemon.state_dir / "hub.json"), on_ask, lambda: None, ignore)
    await hub.connect()
    try:
        yield hub
    finally:
        await hub.close()


async def ask_in_a_flood(bed: Bed) -> tuple[bytes | None, int]:
    """Returns what a machine answers to its copy while another host gets no answers, and how many of these it makes."""
    started = asyncio.Semaphore(0)
    count = 0

    async def answer(host: str, _: bytes) -> bytes | None:
        nonlocal count
        if host == "b":
            return b"mine"
        count += 1
        started.release()
        await asyncio.Event().wait()
        return None

    async def stay_silent(_host: str, _data: bytes) -> bytes | None:
        return None

    a, b = bed.hosts["a"], bed.hosts["b"]
    b.daemon.stop()
    async with connected(b, answer), connected(b, stay_silent) as copy, connected(a, stay_silent) as other:
        questions = [asyncio.create_task(other.ask("b", b"what is stored?")) for _ in range(MAX_ANSWERS + 50)]
        for _ in range(MAX_ANSWERS):
            await started.acquire()
        found = await copy.ask("b", b"the copy")
        await asyncio.gather(*questions)
    return found, count


def test_a_copy_is_answered_while_a_bounded_number_of_other_questions_wait(bed: Bed) -> None:
    assert asyncio.run(asyncio.wait_for(ask_in_a_flood(bed), BOUND_SEC)) == (b"mine", MAX_ANSWERS)
