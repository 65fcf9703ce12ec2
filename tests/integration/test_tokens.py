"""Tokens that change while a real daemon runs, the limits of their holders, and refusals at the start."""

import itertools
import os
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.auth.token_file import TokenFile
from support.harness.client import Client, connect, refusal_of, send_request
from support.harness.contract import error_reason
from support.harness.deployment import Deployment, new_deployment
from support.harness.guarded import NOW_MS, Guarded, guarded_deployment
from support.harness.waiting import wait_until


@pytest.fixture(scope="module")
def guarded() -> Generator[Guarded]:
    with guarded_deployment() as guarded:
        yield guarded


@pytest.fixture
def bob(guarded: Guarded) -> Generator[Client]:
    with connect(guarded.tcp, guarded.texts["bob"]) as client:
        yield client


# -- tokens while the daemon runs -------------------------------------------------------------------------------------


def test_a_new_token_works_at_once_and_a_revoked_one_no_longer(guarded: Guarded) -> None:
    text, made = guarded.tokens.create("dora", NOW_MS)
    with connect(guarded.tcp, text) as dora:
        assert not dora.check("dora").messages
        guarded.tokens.revoke({made.id})
        refusal = refusal_of(lambda: dora.check("dora"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


def test_an_expired_token_is_refused_with_its_expiry_time(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("dora", ttl_ms=1)) as dora:
        refusal = refusal_of(lambda: dora.check("dora"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert "expired on 2023-11-14 22:13 UTC" in refusal.sentence


@pytest.mark.parametrize("max_batch", [0, 1000])
def test_revoking_a_token_ends_its_stream_before_the_next_message(guarded: Guarded, max_batch: int) -> None:
    text, made = guarded.tokens.create("eve", NOW_MS)
    with connect(guarded.tcp, text) as eve:
        stream = eve.live("eve", max_batch=max_batch)
        guarded.tokens.revoke({made.id})
        sent = guarded.deployment.send("eve", "not for a thief").message.id
        refusal = refusal_of(stream.next)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    assert guarded.deployment.state(sent) == pb.DELIVERY_STATE_FILED  # it was not handed over


def test_a_token_is_checked_on_the_unix_socket_too(guarded: Guarded) -> None:
    with connect(guarded.deployment.target, guarded.texts["bob"]) as bob:
        assert refusal_of(lambda: bob.send("alice", sender="carol")).reason == "NOT_YOURS"
        assert bob.send("alice", sender="bob").message.id
    with connect(guarded.deployment.target, "mr_00000000_" + "x" * 43) as liar:
        assert refusal_of(lambda: liar.check("bob")).reason == "TOKEN_INVALID"


def test_with_a_damaged_token_file_only_the_unix_socket_works(guarded: Guarded, bob: Client) -> None:
    before = guarded.tokens.path.read_bytes()
    guarded.tokens.path.write_bytes(before[: len(before) // 2])
    try:
        refusal = refusal_of(lambda: bob.check("bob"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED")
        assert refusal.retry_after_sec > 0
        assert guarded.deployment.check("bob", observe=True).messages is not None
    finally:
        guarded.tokens.path.write_bytes(before)
    bob.check("bob", observe=True)


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_flood_by_one_client_does_not_delay_another(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("flo")) as flo, connect(guarded.tcp, guarded.new_token("gus")) as gus:
        batch = [send_request("sink", "x", sender="flo") for _ in range(1000)]
        flo.send_many(batch * 2)  # the second thousand passes on credit: five seconds' worth
        with suppress(grpc.RpcError):
            for _ in range(10):  # where the machine is slow, some of the credit has come back meanwhile
                flo.send("sink", sender="flo")
                flo.send_many(batch)
        refusal = refusal_of(lambda: flo.send("sink", sender="flo"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert 0 < refusal.retry_after_sec <= 5.01
        assert gus.send("sink", sender="gus").message.id
        assert guarded.deployment.send("sink").message.id


def test_a_clients_open_streams_are_bounded_and_closed_ones_do_not_count(guarded: Guarded) -> None:
    with connect(guarded.tcp, guarded.new_token("hal")) as hal, connect(guarded.tcp, guarded.new_token("ida")) as ida:
        streams = [hal.live("hal") for _ in range(3)]
        refusal = refusal_of(lambda: hal.live("hal"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert refusal.retry_after_sec == 1
        assert refusal_of(lambda: hal.check("hal", wait_sec=20)).reason == "TOO_MANY_STREAMS"
        assert not hal.check("hal").messages
        ida.live("ida").cancel()
        streams.pop().cancel()

        def one_more() -> bool:
            try:
                streams.append(hal.live("hal"))
            except grpc.RpcError:
                return False
            return True

        wait_until(one_more, "there is room for another stream")
        for stream in streams:
            stream.cancel()


def test_anonymous_health_watchers_share_the_bound_of_one_client(guarded: Guarded) -> None:
    with ExitStack() as held, connect(guarded.tcp) as stranger:
        for _ in range(3):
            watching = stranger.watch_serving()
            held.callback(watching.close)
            assert next(watching)
        assert refusal_of(lambda: next(stranger.watch_serving())).reason == "TOO_MANY_STREAMS"
        assert stranger.is_serving()


def test_a_clients_bytes_in_flight_are_bounded() -> None:
    flags = ("--listen", "127.0.0.1:0", "--client-in-flight-size", "1MiB")
    with new_deployment(*flags) as deployment, ExitStack() as opened:
        text, _ = TokenFile(deployment.state_dir).create("bob", NOW_MS)
        deployment.start()
        tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
        client = opened.enter_context(connect(tcp, text))

        def send(index: int) -> str:
            try:
                return client.send("sink", "x" * 400_000, sender="bob", idempotency_key=str(index)).message.id
            except grpc.RpcError as error:
                return error_reason(error)

        stopped = deployment.pid_of("command-queue")
        with deployment.stopped(stopped), ThreadPoolExecutor(4) as threads:
            sends = [threads.submit(send, index) for index in range(4)]
            wait_until(lambda: sum(future.done() for future in sends) == 2, "what is too much is refused at once")
            assert [future.result() for future in sends if future.done()] == ["TOO_MANY_BYTES"] * 2
            os.kill(stopped, signal.SIGCONT)
        assert sorted(future.result() == "TOO_MANY_BYTES" for future in sends) == [False, False, True, True]
        assert client.send("sink", "x" * 400_000, sender="bob").message.id


# -- the start --------------------------------------------------------------------------------------------------------


def refused_start(deployment: Deployment, *flags: str) -> tuple[int, str]:
    """Starts a daemon that must refuse to start; returns its exit code and its log."""
    with pytest.raises(AssertionError):
        deployment.start(*flags)
    return deployment.wait_for_end(), deployment.log()


def test_the_daemon_refuses_to_listen_on_tcp_without_a_token() -> None:
    with new_deployment("--listen", "127.0.0.1:0") as deployment:
        code, said = refused_start(deployment)
        assert code == 78
        assert f"mailroom token create --state-dir {deployment.state_dir} --agent NAME" in said
        tokens = TokenFile(deployment.state_dir)
        tokens.create("bob", NOW_MS, ttl_ms=1)
        assert refused_start(deployment)[0] == 78
        tokens.create("bob", NOW_MS)
        deployment.start()


def test_the_daemon_refuses_a_token_file_that_others_can_read() -> None:
    with new_deployment() as deployment:
        tokens = TokenFile(deployment.state_dir)
        tokens.create("bob", NOW_MS)
        tokens.path.chmod(0o644)
        code, said = refused_start(deployment)
        assert (code, "chmod 600 it" in said) == (78, True)
        tokens.path.chmod(0o600)
        deployment.start()


def test_everything_that_the_daemon_creates_is_private(guarded: Guarded) -> None:
    guarded.deployment.send("bob", "private")
    found = [path for top in (guarded.deployment.root, guarded.deployment.state_dir) for path in (top, *top.rglob("*"))]
    socket = Path(guarded.deployment.target.removeprefix("unix:"))
    found += [socket, socket.parent]
    assert len(found) > 8
    open_to_others = {str(path): oct(path.stat().st_mode) for path in found if path.lstat().st_mode & 0o077}
    assert not open_to_others
    workers = guarded.deployment.family()
    umasks = [
        (Path(f"/proc/{worker.pid}/status").read_text().split("Umask:\t")[1][:4], worker.pid) for worker in workers
    ]
    assert {umask for umask, _ in umasks} == {"0077"}


def test_no_secret_is_in_the_daemons_command_line_or_environment(guarded: Guarded) -> None:
    secrets = [text.split("_", 2)[2].encode() for text in guarded.texts.values()]
    for worker, file_name in itertools.product(guarded.deployment.family(), ("cmdline", "environ")):
        shown = Path(f"/proc/{worker.pid}/{file_name}").read_bytes()
        assert not any(secret in shown for secret in secrets)


def test_without_authentication_any_loopback_client_is_the_owner() -> None:
    with new_deployment("--listen", "127.0.0.1:0", "--auth", "off") as deployment:
        deployment.start()
        tcp = next(address for address in deployment.addresses if not address.startswith("unix:"))
        with connect(tcp) as client:
            assert client.status().version
            assert client.send("alice", sender="anybody").message.id
            assert client.stats("alice").total == 1
