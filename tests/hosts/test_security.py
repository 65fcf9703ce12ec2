"""No host can forge or read what is another's, nor can the hub; a key belongs to one machine."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nats
import pytest
from mailroomd.core.host_directory import HostDirectory
from mailroomd.operator.hub.joining import forget_key, join
from mailroomd.operator.hub.setting_up import add_host, write_server_config
from nats.errors import Error as NatsError
from support.harness.daemon import short_directory
from support.harness.waiting import wait_until
from support.hosts.bed import Bed, Host, running_bed

SECRET = "the launch code is 0000"


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with running_bed("a", "b") as made:
        yield made


def problem_of(host: Host, other: str) -> str:
    """Returns why a host does not send to another."""
    return HostDirectory(host.daemon.state_dir).content().hosts[other].problem


async def refusals(bed: Bed, user: str, subjects: list[tuple[str, bytes]]) -> list[str]:
    """Returns the subjects to which the hub lets a host publish: none of them gets an answer."""
    answered: list[str] = []

    async def ignore(_: Exception) -> None:
        """They are what is expected."""

    client = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
        bed.broker.url,
        user=user,
        password=bed.hub.hosts[user],
        inbox_prefix=f"_INBOX_{user}".encode(),
        error_cb=ignore,
    )
    for subject, data in subjects:
        with suppress(NatsError, TimeoutError):
            await client.request(subject, data, timeout=0.5)
            answered.append(subject)
    await client.close()
    return answered


def test_a_host_can_neither_forge_a_sender_nor_take_the_mail_of_another(bed: Bed) -> None:
    forbidden = [
        ("mail.main-0.a.c", b"forged"),
        ("$KV.hosts.a", b"{}"),
        ("$JS.API.CONSUMER.MSG.NEXT.MAIL_main-0.a", b"1"),
        ("$JS.API.CONSUMER.DELETE.MAIL_main-0.a", b""),
        ("$JS.API.STREAM.PURGE.MAIL_main-0", b""),
        ("$JS.API.STREAM.DELETE.MAIL_main-0", b""),
        ("$JS.API.STREAM.MSG.GET.MAIL_main-0", json.dumps({"seq": 1}).encode()),
        (
            "$JS.API.CONSUMER.CREATE.MAIL_main-0.spy.mail.main-0.a.*",
            json.dumps({"stream_name": "MAIL_main-0", "config": {"name": "spy"}}).encode(),
        ),
    ]
    assert asyncio.run(refusals(bed, "b", forbidden)) == []
    assert asyncio.run(refusals(bed, "b", [("$JS.API.STREAM.INFO.MAIL_main-0", b"")])) != [], "the test can tell"


def test_the_hub_does_not_see_what_it_carries(bed: Bed) -> None:
    bed.hosts["b"].daemon.stop()
    bed.send("a", "bob:b", SECRET)
    wait_until(lambda: bed.broker.streams().get("MAIL_main-0"), "the hub holds the message")
    stored = [path.read_bytes() for path in (bed.broker.directory / "jetstream").rglob("*") if path.is_file()]
    assert any(b"mail.main-0.b.a" in content for content in stored), "the test looks at the right files"
    assert not any(b"launch code" in content or b"bob" in content for content in stored)
    bed.hosts["b"].daemon.start()
    bed.wait_at_rest()


def test_a_changed_key_stops_the_mail_until_it_is_trusted(bed: Bed) -> None:
    a, b = bed.hosts["a"], bed.hosts["b"]
    b.daemon.stop()
    (b.daemon.state_dir / "hub.json").unlink()
    b.join(bed.broker.directory / "b.invitation")
    b.daemon.start()
    bed.send("a", "bob:b", "for the new key")
    wait_until(lambda: "KEY_CHANGED" in problem_of(a, "b"), "a has seen the other key", 60.0)
    assert "for the new key" not in b.contents("bob")
    assert forget_key(a.daemon.state_dir, "b")
    wait_until(lambda: "for the new key" in b.contents("bob"), "the message has arrived", 60.0)
    bed.wait_at_rest()


def test_a_removed_host_is_cut_off() -> None:
    with running_bed("a", "b") as made:
        made.remove("b")
        b = made.hosts["b"]
        wait_until(lambda: not HostDirectory(b.daemon.state_dir).content().is_connected, "b is cut off", 60.0)
        made.hosts["a"].client.send("bob:b", "waits", sender="amy")
        b.client.send("bob", "local", sender="amy")
        assert b.contents("bob") == ["local"]


def make_certificates(directory: Path) -> None:
    """Makes an authority, and a certificate of 127.0.0.1."""

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=directory, capture_output=True)

    run(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"
    )
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "hub.key", "-out", "hub.csr", "-subj", "/CN=hub")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
    run("x509", "-req", "-in", "hub.csr", "-out", "hub.pem", *signing)


def test_mail_goes_over_tls_and_to_no_other_server() -> None:
    with short_directory() as directory:
        bed = Bed(directory / "bed", ["a", "b"])
        make_certificates(directory)
        hub = bed.hub
        hub.servers = [bed.broker.url.replace("nats://", "tls://")]
        hub.cert, hub.key, hub.ca = (str(directory / name) for name in ("hub.pem", "hub.key", "ca.pem"))
        for name, host in bed.hosts.items():
            (host.daemon.state_dir / "hub.json").unlink()
            path, _ = join(add_host(hub, name, bed.broker.directory), host.daemon.state_dir)
            host.daemon.flags = ("--hub", str(path))
        write_server_config(hub, bed.broker.directory)
        try:
            bed.start()
            bed.send("a", "bob:b", "hello")
            bed.wait_at_rest()
            bed.broker.kill()
            (directory / "again").mkdir()
            make_certificates(directory / "again")
            shutil.copy(directory / "again" / "hub.pem", directory / "hub.pem")
            shutil.copy(directory / "again" / "hub.key", directory / "hub.key")
            bed.broker.start()
            a = bed.hosts["a"]
            wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in a.daemon.log(), "the server is refused")
            assert not HostDirectory(a.daemon.state_dir).content().is_connected
        finally:
            bed.close()
