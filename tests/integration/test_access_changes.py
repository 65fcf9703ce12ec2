"""A stream or a waiting call ends when its caller may no longer read, and nothing arrives after the change."""

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from queue import Queue
from typing import Any, cast

import grpc
import pytest
from google.protobuf import duration_pb2
from grpc_reflection.v1alpha import reflection_pb2
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import SERVICE, Client, Refusal, connect, refusal_of
from support.harness.guarded import Guarded, guarded_deployment
from support.harness.waiting import wait_until

WAIT_SEC = 20.0
EXPIRES_SEC = 2  # long enough to open the stream or the call before
_names = count(1)


@pytest.fixture(scope="module")
def guarded() -> Generator[Guarded]:
    with guarded_deployment() as guarded:
        yield guarded


class Reader:
    """An agent that reads as its session, and what ends its access.

    Attributes:
        agent: holds the token.
        name: the name under which it reads.
    """

    def __init__(self, guarded: Guarded, ttl_ms: int = 0) -> None:
        self.guarded = guarded
        self.agent = f"reader-{next(_names)}"
        self.name = self.agent
        now_ms = time.time_ns() // 1_000_000 if ttl_ms else 0
        self.text, self.token = guarded.tokens.create(self.agent, now_ms, ttl_ms)

    def set_alias(self, agent: str, ttl: float | None = None) -> None:
        request = pb.SetAliasRequest(agent=agent, session=self.name)
        if ttl is not None:
            request.ttl.CopyFrom(duration_pb2.Duration(seconds=int(ttl)))
        self.guarded.deployment.call("SetAlias", request)

    def use_session(self, ttl: float | None = None) -> None:
        self.name = f"session-of-{self.agent}"
        self.set_alias(self.agent, ttl)


def alias_moved(guarded: Guarded) -> tuple[Reader, Callable[[], object]]:
    reader = Reader(guarded)
    reader.use_session()

    def move() -> None:
        reader.set_alias(reader.agent, ttl=0)
        reader.set_alias("alice")

    return reader, move


def alias_ended(guarded: Guarded) -> tuple[Reader, Callable[[], object]]:
    reader = Reader(guarded)
    reader.use_session()
    return reader, lambda: reader.set_alias(reader.agent, ttl=0)


def alias_expired(guarded: Guarded) -> tuple[Reader, Callable[[], object]]:
    reader = Reader(guarded)
    reader.use_session(ttl=EXPIRES_SEC)
    expires_at = time.monotonic() + EXPIRES_SEC + 0.1
    return reader, lambda: wait_until(lambda: time.monotonic() > expires_at, "the alias has expired")


def token_revoked(guarded: Guarded) -> tuple[Reader, Callable[[], object]]:
    reader = Reader(guarded)

    def revoke() -> None:
        guarded.tokens.revoke({reader.token.id})

    return reader, revoke


def token_expired(guarded: Guarded) -> tuple[Reader, Callable[[], object]]:
    reader = Reader(guarded, ttl_ms=EXPIRES_SEC * 1000)
    expires_at = time.monotonic() + EXPIRES_SEC + 0.1
    return reader, lambda: wait_until(lambda: time.monotonic() > expires_at, "the token has expired")


Change = Callable[[Guarded], tuple[Reader, Callable[[], object]]]
CHANGES: dict[Change, tuple[str, str]] = {
    alias_moved: ("PERMISSION_DENIED", "NOT_YOURS"),
    alias_ended: ("PERMISSION_DENIED", "NOT_YOURS"),
    alias_expired: ("PERMISSION_DENIED", "NOT_YOURS"),
    token_revoked: ("UNAUTHENTICATED", "TOKEN_INVALID"),
    token_expired: ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
}


def start_wait(client: Client, name: str, threads: ThreadPoolExecutor) -> "Future[Refusal]":
    return threads.submit(refusal_of, lambda: client.check(name, wait_sec=WAIT_SEC))


def start_stream(client: Client, name: str, threads: ThreadPoolExecutor) -> "Future[Refusal]":
    stream = client.live(name)
    return threads.submit(refusal_of, stream.next)


@pytest.mark.parametrize("start", [start_wait, start_stream])
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_arrives_after_a_change_of_access(
    guarded: Guarded,
    change: Change,
    start: Callable[[Client, str, ThreadPoolExecutor], "Future[Refusal]"],
) -> None:
    reader, apply_change = change(guarded)
    with connect(guarded.tcp, reader.text) as client, ThreadPoolExecutor() as threads:
        reading = start(client, reader.name, threads)
        wait_until(lambda: guarded.deployment.stats(reader.agent).last_seen.seconds, "the call has reached the mailbox")
        apply_change()
        sent = guarded.deployment.send(reader.name, "not for this reader").message.id
        refusal = reading.result()
    assert (refusal.code.name, refusal.reason) == CHANGES[change]
    assert guarded.deployment.state(sent) == pb.DELIVERY_STATE_FILED, "it was not offered"


def test_a_wait_that_ends_without_mail_still_checks_the_token(guarded: Guarded) -> None:
    reader, revoke = token_revoked(guarded)
    with connect(guarded.tcp, reader.text) as client, ThreadPoolExecutor() as threads:
        reading = threads.submit(refusal_of, lambda: client.check(reader.name, wait_sec=2))
        wait_until(lambda: guarded.deployment.stats(reader.agent).last_seen.seconds, "the call has reached the mailbox")
        revoke()
        assert reading.result().code is grpc.StatusCode.UNAUTHENTICATED


def send_batches(reader: Reader, client: Client) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns what sends a batch on a stream that stays open, and what reads its response."""
    requests: Queue[bytes] = Queue()
    batch = pb.SendMessagesRequest(
        messages=[pb.SendMessageRequest(sender=reader.name, recipient="sink", content=reader.agent)]
    )
    responses = stream(client, SERVICE + "SendMessages", requests)
    return lambda: requests.put(batch.SerializeToString()), lambda: next(responses)


def ask_reflection(_: Reader, client: Client) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns what asks on a reflection stream, and what reads the response."""
    requests: Queue[bytes] = Queue()
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    responses = stream(client, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", requests)
    return lambda: requests.put(request.SerializeToString()), lambda: next(responses)


def stream(client: Client, path: str, requests: "Queue[bytes]") -> Iterator[bytes]:
    return cast("Any", client.channel.stream_stream(path))(iter(requests.get, None), timeout=WAIT_SEC)


@pytest.mark.parametrize("open_stream", [send_batches, ask_reflection])
@pytest.mark.parametrize("change", [token_revoked, token_expired])
def test_a_stream_of_requests_ends_with_the_access(
    guarded: Guarded,
    change: Change,
    open_stream: Callable[[Reader, Client], tuple[Callable[[], object], Callable[[], object]]],
) -> None:
    reader, apply_change = change(guarded)
    with connect(guarded.tcp, reader.text) as client:
        ask, answer = open_stream(reader, client)
        ask()
        assert answer()
        apply_change()
        ask()
        refusal = refusal_of(answer)
    assert (refusal.code.name, refusal.reason) == CHANGES[change]
    sent = [message.content for message in guarded.deployment.listed("sink")]
    assert sent.count(reader.agent) == (1 if open_stream is send_batches else 0), "and not the second batch"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [("remove", "TOKEN_INVALID"), ("replace by a directory", "STORAGE_FAILED"), ("damage", "STORAGE_FAILED")],
)
def test_nobody_keeps_access_that_can_no_longer_be_checked(guarded: Guarded, damage: str, reason: str) -> None:
    reader = Reader(guarded)
    path = guarded.tokens.path
    kept = path.with_suffix(".kept")
    with connect(guarded.tcp, reader.text) as client, ThreadPoolExecutor() as threads:
        reading = start_stream(client, reader.name, threads)
        wait_until(lambda: guarded.deployment.stats(reader.agent).last_seen.seconds, "the call has reached the mailbox")
        path.rename(kept)
        try:
            if damage == "damage":
                path.write_text("{")
            elif damage != "remove":
                path.mkdir()
            guarded.deployment.send(reader.name, "not for this reader")
            assert reading.result().reason == reason
            assert refusal_of(lambda: client.check(reader.name)).reason == reason
        finally:
            if path.is_dir():
                path.rmdir()
            kept.rename(path)
        wait_until(lambda: client.check(reader.name).messages, "the token counts again")
