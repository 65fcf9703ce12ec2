"""Clients that send anything, in any order, and leave at any moment: the daemon answers, stays whole and writes nowhere
else. One daemon stands it all; at the end its trace says what it wrote, and its footprint what it kept.

MAILROOM_TEST_ROUNDS times 5 requests of each kind are made up (10 by default); MAILROOM_TEST_SEED repeats them.
"""

import re
import socket
import struct as packing
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.model.names import is_name
from support.faults.footprint import footprint
from support.faults.write_watch import WriteWatch
from support.harness import waiting
from support.harness.any_request import BAD_NAMES, damaged, request_bytes
from support.harness.client import SERVICE, refusal_of
from support.harness.contract import error_reason
from support.harness.deployment import Deployment, new_deployment
from support.harness.raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    grpc_body,
    header_block,
    raw_connection,
)
from support.harness.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(300)]

METHODS = {one.name: one for one in pb.DESCRIPTOR.services_by_name["MailboxService"].methods}
BOUND_SEC = 5.0  # for an answer to anything
ENDLESS = ("Subscribe", "CheckInbox")  # they may wait to their deadline; then gRPC ends them, without a reason
GOOD_CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
STREAMS = 300  # opened and left in one go
GROWN_BYTES = 60 << 20  # that all processes may have kept afterwards, of caches that are bounded
MADE_UP = waiting.rounds() * 5
SEND = SERVICE + "SendMessage"


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    print(f"MAILROOM_TEST_SEED={waiting.seed()}")
    with new_deployment(watched=True) as deployment:
        deployment.start()
        deployment.send("abc", "before")
        before = footprint(deployment.family())
        pids = {one.name: one.pid for one in deployment.status().workers}
        yield deployment
        assert {one.name: one.pid for one in deployment.status().workers} == pids, deployment.log()
        assert deployment.send("abc", "after").message.id
        after = footprint(deployment.family())
        print(f"before: {before}\nafter: {after}")
        assert after.memory_bytes - before.memory_bytes < GROWN_BYTES
        wait_until(lambda: footprint(deployment.family()).descriptors <= before.descriptors + 20, "descriptors go back")
        assert "Traceback" not in deployment.log()
        assert deployment.stop() == 0
        strangers = [one for one in WriteWatch(deployment.directory / "trace").changed() if not is_own(deployment, one)]
        assert not strangers
        assert all(is_name(one.name) or one.name == ".tmp" for one in (deployment.root / "inbox").iterdir())


def is_own(deployment: Deployment, path: str) -> bool:
    """Whether a path is one that the daemon may write to."""
    return (
        Path(path).is_relative_to(deployment.directory.resolve())
        or path.startswith(("/memfd:", "/dev/null"))
        or re.fullmatch(r"/proc/\d+/comm", path) is not None
    )


def message_type(name: str) -> type[Message]:
    return getattr(pb, METHODS[name].input_type.name)


def ask(deployment: Deployment, method: str, raw: bytes) -> grpc.StatusCode | None:
    """Calls a method with any bytes and reads its first answer; returns its status, None where that has no reason."""
    path, kind = SERVICE + method, METHODS[method]
    deadline_sec = 0.3 if method in ENDLESS else BOUND_SEC
    channel: Any = deployment.channel
    try:
        if kind.client_streaming:
            next(channel.stream_stream(path)(iter([raw]), timeout=deadline_sec))
        elif kind.server_streaming:
            stream = channel.unary_stream(path)(raw, timeout=deadline_sec)
            next(stream)
            stream.cancel()
        else:
            channel.unary_unary(path)(raw, timeout=deadline_sec)
    except grpc.RpcError as error:
        return error.code() if error_reason(error) else None
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", METHODS)
def test_any_request_is_answered_or_refused_with_a_reason(deployment: Deployment, method: str) -> None:
    @seed(waiting.seed())
    @settings(
        max_examples=MADE_UP,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        phases=[Phase.generate, Phase.shrink],
    )
    @given(whole=request_bytes(message_type(method)), damage=st.none() | st.integers(0, 1 << 30))
    def play(whole: bytes, damage: int | None) -> None:
        code = ask(deployment, method, whole if damage is None else damaged(whole, damage))
        assert code in GOOD_CODES or (code is None and method in ENDLESS), code

    play()


def test_no_hostile_name_gets_anywhere(deployment: Deployment) -> None:
    before = sorted(one.name for one in (deployment.root / "inbox").iterdir())
    fields = {"agent": ("CheckInbox", "ClearMailbox", "GetMailboxStats"), "session_id": ("GetQueueStats",)}
    is_any = [name for name in BAD_NAMES if name not in ("inbox", "con", "nul.json", "a.json", "a" * 128, "-rf")]
    for name in [one for one in is_any if one] + ["." * (1 << 20)]:
        for field, methods in fields.items():
            for method in methods:
                request = message_type(method)(**{field: name})
                refusal = refusal_of(lambda method=method, request=request: deployment.call(method, request))
                assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, (name[:40], method)
        refusal = refusal_of(lambda name=name: deployment.send(name))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RECIPIENT_INVALID")
        assert len(refusal.sentence) < 400, "a long name is not repeated"
    assert sorted(one.name for one in (deployment.root / "inbox").iterdir()) == before


def test_names_that_some_systems_reserve_are_names_like_any_other() -> None:
    with new_deployment() as fresh:  # elsewhere a request that was made up may have made an alias of such a name
        fresh.start()
        for name in ("con", "nul.json", "inbox", "-rf", "a.json", "a" * 128):
            number = fresh.send(name, "yours").message.id
            assert number in fresh.filed(name)
        assert fresh.stop() == 0


def test_surrogates_and_other_bytes_that_are_no_text_are_refused(deployment: Deployment) -> None:
    for text in (b"\xed\xa0\x80", b"\xff\xfe", b"abc\xc0\xaf..", b"\xf8\x88\x80\x80\x80"):
        raw = b"\x0a" + bytes([len(text)]) + text
        assert ask(deployment, "SendMessage", raw) is grpc.StatusCode.INVALID_ARGUMENT
        assert ask(deployment, "CheckInbox", raw) is grpc.StatusCode.INVALID_ARGUMENT


def test_headers_without_end_are_refused_and_others_are_served_meanwhile(deployment: Deployment) -> None:
    channel: Any = deployment.channel
    many = [(f"x-{number}", "y" * 100) for number in range(2000)]
    for metadata in ([("x", "y" * 200_000)], many, [("x-bin", b"\xff" * 100_000)]):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(SEND)(b"", metadata=metadata, timeout=BOUND_SEC)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with raw_connection(deployment.target) as bomb:
        bomb.begin()
        bomb.say(frame(HEADERS, 0, 1, header_block([(":method", b"POST")])))
        for _ in range(200):
            bomb.say(frame(CONTINUATION, 0, 1, header_block([("x", b"y" * 15_000)])))
        assert deployment.send("abc").message.id
        bomb.say(frame(CONTINUATION, END_HEADERS, 1))
        assert bomb.heard(), "it is told"


def test_a_request_that_is_larger_than_any_may_be_is_refused_before_it_is_read(deployment: Deployment) -> None:
    with raw_connection(deployment.target) as raw:
        raw.begin()
        raw.call(SEND)
        raw.say(frame(DATA, 0, 1, grpc_body(b"", length=0xFFFF_FFFF)))
        assert b"larger than max" in raw.heard(until=b"larger than max")


def test_any_bytes_instead_of_http2_disturb_nobody(deployment: Deployment) -> None:
    chance = waiting.chance("raw bytes")
    whole = PREFACE + frame(4, 0, 0) + frame(HEADERS, END_HEADERS, 1, header_block([(":path", SEND.encode())]))
    whole += frame(DATA, END_STREAM, 1, grpc_body(b"\x0a\x03abc"))
    with ExitStack() as opened:
        for number in range(MADE_UP * 4):
            raw = opened.enter_context(raw_connection(deployment.target))
            raw.say(chance.randbytes(200) if number % 4 == 0 else damaged(whole, chance.randrange(1 << 30)))
        assert deployment.send("abc").message.id


@pytest.mark.parametrize(
    "lie",
    [
        frame(DATA, 0, 1, b"x", length=0xFFFFFF),
        frame(HEADERS, END_HEADERS, 0, b""),
        frame(HEADERS, END_HEADERS, 1, b"\xff" * 100),
        frame(HEADERS, END_HEADERS, 1, b"\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        frame(CONTINUATION, END_HEADERS, 7, b""),
        frame(WINDOW_UPDATE, 0, 0, packing.pack(">I", 0x7FFF_FFFF)) * 3,
        frame(SETTINGS, 0, 0, packing.pack(">HI", 4, 0xFFFF_FFFF)),
        frame(99, 255, 0x7FFF_FFFF, b"?" * 100),
    ],
    ids=["length", "no stream", "headers", "endless number", "continuation", "window", "settings", "unknown"],
)
def test_a_frame_that_lies_ends_its_own_connection_at_most(deployment: Deployment, lie: bytes) -> None:
    with raw_connection(deployment.target) as raw:
        raw.begin()
        raw.say(lie)
        assert deployment.send("abc").message.id


def test_connections_that_are_half_closed_or_never_go_on_hold_up_nobody(deployment: Deployment) -> None:
    with ExitStack() as opened:
        for number in range(100):
            raw = opened.enter_context(raw_connection(deployment.target))
            if number % 4 == 0:
                raw.say(PREFACE[: number % len(PREFACE)])  # and nothing more
                continue
            raw.begin()
            if number % 4 == 1:
                raw.say(frame(HEADERS, 0, 1, header_block([(":method", b"POST")])))  # headers that never end
                continue
            raw.call(SERVICE + "Subscribe")
            raw.say(frame(DATA, 0, 1, grpc_body(b"\x0a\x03abc")[: 3 + number % 7]))
            if number % 4 == 2:
                raw.socket.shutdown(socket.SHUT_WR)
        for _ in range(20):
            assert deployment.send("abc", timeout=BOUND_SEC).message.id


def test_headers_that_come_a_byte_at_a_time_hold_up_nobody(deployment: Deployment) -> None:
    with raw_connection(deployment.target) as slow:
        slow.begin()
        block = header_block([(":method", b"POST"), (":scheme", b"http"), (":path", SEND.encode())])
        for byte in frame(HEADERS, END_HEADERS, 1, block):
            slow.say(bytes([byte]))
            deployment.call("GetMailboxStats", pb.GetMailboxStatsRequest(agent="abc"), timeout=BOUND_SEC)


def test_streams_that_are_opened_and_left_by_the_hundred_leave_no_subscriber_behind(deployment: Deployment) -> None:
    request = pb.SubscribeRequest(agent="left", include_unread=True).SerializeToString()
    for leaves_by in ("closing", "resetting", "half-closing"):
        with raw_connection(deployment.target) as raw:
            raw.begin()
            for number in range(STREAMS):
                stream = 2 * number + 1
                raw.call(SERVICE + "Subscribe", stream=stream)
                raw.say(frame(DATA, END_STREAM if number % 2 else 0, stream, grpc_body(request)))
                if leaves_by == "resetting":
                    raw.say(frame(RST_STREAM, 0, stream, packing.pack(">I", 8)))
            if leaves_by == "half-closing":
                raw.socket.shutdown(socket.SHUT_WR)
            deployment.send("left", "to whom it may concern")
    wait_until(lambda: deployment.stats("left").subscribers == 0, "nobody is left")


def test_calls_that_are_reset_as_soon_as_they_are_made_hold_up_nobody(deployment: Deployment) -> None:
    """As in CVE-2023-44487."""
    with raw_connection(deployment.target) as raw:
        raw.begin()
        for number in range(2000):
            raw.call(SEND, stream=2 * number + 1)
            raw.say(frame(RST_STREAM, 0, 2 * number + 1, packing.pack(">I", 8)))
        assert deployment.send("abc", timeout=BOUND_SEC).message.id


def test_pings_and_settings_by_the_thousand_hold_up_nobody(deployment: Deployment) -> None:
    with raw_connection(deployment.target) as raw:
        raw.begin()
        raw.say(*[frame(PING, 0, 0, bytes(8)) + frame(SETTINGS, 0, 0) for _ in range(5000)])
        assert deployment.send("abc", timeout=BOUND_SEC).message.id


def test_odd_deadlines_and_encodings_get_an_answer_or_an_end(deployment: Deployment) -> None:
    odd = [("grpc-timeout", text.encode()) for text in ("", "99999999H", "1n", "-1S", "1X", "S", "9" * 300)]
    odd += [("grpc-encoding", b"bomb"), ("grpc-encoding", b"gzip"), ("content-type", b"text/html"), ("te", b"no")]
    for header in odd:
        with raw_connection(deployment.target) as raw:
            raw.begin()
            raw.call(SERVICE + "CheckInbox", more=[header])
            raw.say(frame(DATA, END_STREAM, 1, grpc_body(b"\x0a\x03abc", compressed=header[0] == "grpc-encoding")))
            assert raw.heard(until=b"grpc-status"), header


def test_a_poller_with_made_up_names_is_forgotten(deployment: Deployment) -> None:
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(deployment.call, "CheckInbox", pb.CheckInboxRequest(agent=f"made-up-{number}"))
            for number in range(400)
        ]
        assert not any(one.result().messages for one in asked)
    assert not [one for one in (deployment.root / "inbox").iterdir() if one.name.startswith("made-up-")]
