"""The most expensive requests of one client delay another client's calls by no more than one large message does."""

import threading
from collections import Counter
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import grpc
import psutil
import pytest
from google.protobuf import struct_pb2
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.gateway.structs import encode_varint
from support.harness.client import SERVICE, Client, connect, refusal_of
from support.harness.deployment import Deployment
from support.harness.guarded import CLIENT_STREAMS, Guarded, guarded_deployment
from support.harness.waiting import BOUND_SEC

MIB = 1 << 20
# Processor time of the gateway, all threads, during one cheap call. The call needs about ten turns of the loop. Each
# may follow one slice of long work, 5 ms and the message that exceeds it, and 5 ms in which a thread converts: 0.2 s.
# Fifty calls that arrived before it are accepted first: 0.1 s. What conversions may take:
# `unit/test_conversion_costs.py`.
MAX_WORK_SEC = 0.5  # beside requests that are carried out; without bounds it is 5 s and more
MAX_REFUSAL_SEC = 0.4  # beside one request that is refused, which takes 0.2 s to receive; decoded, it takes seconds
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
MAX_STREAMS_GROWTH_MIB = 900  # of one client's streams: four requests at a time; sixty were 2.2 GB
MAX_GROWTH_MIB = 150  # of peak memory: gRPC and Python hold a request of 14 MiB several times; decoded it is 1 GB
LAWFUL_VALUES = 12_000  # just below 64 KiB as JSON, the most expensive metadata that is accepted


@pytest.fixture(scope="module")
def guarded() -> Generator[Guarded]:
    with guarded_deployment("--client-rate", "100000") as guarded:
        yield guarded


def nulls(count: int) -> struct_pb2.Struct:
    values = struct_pb2.ListValue(values=[struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)] * count)
    return struct_pb2.Struct(fields={"a": struct_pb2.Value(list_value=values)})


def start(client: Client, rpc: str, request: Any) -> "Future[Any]":
    method = cast("Any", client.channel.unary_unary(SERVICE + rpc))
    return method.future(request.SerializeToString(), timeout=BOUND_SEC)


def longest_work_sec(deployment: Deployment, client: Client, *floods: "Future[Any]") -> float:
    """Returns the most processor time that the gateway spent while one cheap call of a client waited for its answer.

    Makes such calls until the floods have ended. Other than the time on the clock, it does not grow on a busy machine.
    """
    gateway = psutil.Process(deployment.pid_of("gateway"))
    longest_sec, is_over = 0.0, False
    while not is_over:
        is_over = all(flood.done() for flood in floods)
        before = gateway.cpu_times()
        client.call("ListAgents", pb.ListAgentsRequest())
        after = gateway.cpu_times()
        longest_sec = max(longest_sec, after.user + after.system - before.user - before.system)
    return longest_sec


@pytest.mark.parametrize("values", [LAWFUL_VALUES, 100_000])
def test_a_broadcast_with_costly_metadata_delays_no_other_client(guarded: Guarded, values: int) -> None:
    message = pb.SendMessageRequest(sender="bob", content="x", metadata=nulls(values))
    request = pb.BroadcastMessageRequest(message=message, recipients=[f"r{index}" for index in range(1000)])
    with connect(guarded.tcp, guarded.texts["bob"]) as bob, connect(guarded.tcp, guarded.texts["carol"]) as carol:
        broadcast = start(bob, "BroadcastMessage", request)
        work_sec = longest_work_sec(guarded.deployment, carol, broadcast)
        assert work_sec < MAX_WORK_SEC, work_sec
        results = pb.BroadcastMessageResponse.FromString(broadcast.result()).results
    expected = "ok" if values == LAWFUL_VALUES else "METADATA_TOO_LARGE"
    assert {result.error.reason or result.WhichOneof("result") for result in results} == {expected}


def test_a_batch_with_costly_metadata_delays_no_other_client(guarded: Guarded) -> None:
    message = pb.SendMessageRequest(sender="bob", recipient="sink", content="x", metadata=nulls(LAWFUL_VALUES))
    with (
        connect(guarded.tcp, guarded.texts["bob"]) as bob,
        connect(guarded.tcp, guarded.texts["carol"]) as carol,
        ThreadPoolExecutor(1) as threads,
    ):
        sending = threads.submit(bob.send_many, [message] * 100)
        work_sec = longest_work_sec(guarded.deployment, carol, sending)
        assert work_sec < MAX_WORK_SEC, work_sec
        assert all(result.HasField("ok") for result in sending.result())


def test_a_flood_of_costly_reads_delays_no_other_client(guarded: Guarded) -> None:
    message = pb.SendMessageRequest(sender="bob", recipient="bob", content="x", metadata=nulls(LAWFUL_VALUES))
    with connect(guarded.tcp, guarded.texts["bob"]) as bob, connect(guarded.tcp, guarded.texts["carol"]) as carol:
        bob.send_many([message] * 60)
        restarts = guarded.deployment.worker("gateway").restarts
        request = pb.CheckInboxRequest(agent="bob", observe=True, limit=1000)
        reads = [start(bob, "CheckInbox", request) for _ in range(50)]
        work_sec = longest_work_sec(guarded.deployment, carol, *reads[:10])
        assert work_sec < MAX_WORK_SEC, work_sec
        for read in reads:
            read.cancel()
        assert guarded.deployment.worker("gateway").restarts == restarts


def metadata_of(content: bytes) -> bytes:
    """Returns an encoded SendMessageRequest whose metadata is a Struct with this content."""
    return pb.SendMessageRequest(sender="bob", recipient="sink", content="x").SerializeToString() + field(5, content)


def field(number: int, content: bytes) -> bytes:
    """Returns an encoded field with a message, a string or bytes."""
    return bytes([number << 3 | 2]) + encode_varint(len(content)) + content


COSTLY_REQUESTS: dict[str, tuple[str, bytes, str]] = {  # each name with an RPC, an encoded request, and its reason
    "empty ids": ("AcknowledgeMessages", field(1, b"bob") + b"\x12\x00" * (7 * MIB), "TOO_MANY"),
    "empty ids, offered": ("MarkOffered", field(1, b"bob") + b"\x12\x00" * (7 * MIB), "TOO_MANY"),
    "empty recipients": ("BroadcastMessage", b"\x0a\x00" * (7 * MIB), "TOO_MANY"),
    "empty messages": ("SendMessages", b"\x0a\x00" * (7 * MIB), "TOO_MANY"),
    "messages with a sender": ("SendMessages", field(1, field(2, b"bob")) * (2 * MIB), "TOO_MANY"),
    "values": ("SendMessage", metadata_of(b"\x0a\x00" * (7 * MIB)), "METADATA_TOO_LARGE"),
    "unknown fields": ("ClearMailbox", field(1, b"bob") + b"\xf8\x3f\x01" * (5 * MIB), "REQUEST_MALFORMED"),
    "fields of a time to live": (
        "SendMessage",
        field(2, b"bob") + field(9, b"\x08\x01" * (7 * MIB)),
        "REQUEST_MALFORMED",
    ),
}


@pytest.mark.parametrize("name", COSTLY_REQUESTS)
def test_a_request_of_millions_of_entries_is_refused_before_it_is_decoded(guarded: Guarded, name: str) -> None:
    rpc, encoded, reason = COSTLY_REQUESTS[name]
    gateway = guarded.deployment.worker("gateway")
    status = Path(f"/proc/{gateway.pid}/status")
    before_mib = peak_mib(status)
    with (
        connect(guarded.tcp, guarded.texts["bob"]) as bob,
        connect(guarded.tcp, guarded.texts["carol"]) as carol,
        ThreadPoolExecutor(1) as threads,
    ):
        flood = threads.submit(refusal_of, lambda: respond(bob, rpc, encoded))
        work_sec = longest_work_sec(guarded.deployment, carol, flood)
        assert flood.result().reason == reason
    assert work_sec < MAX_REFUSAL_SEC, work_sec
    assert peak_mib(status) - before_mib < MAX_GROWTH_MIB
    assert guarded.deployment.worker("gateway") == gateway


def respond(client: Client, rpc: str, encoded: bytes) -> list[bytes]:
    """Returns the responses to an encoded request; every RPC takes a stream of requests."""
    call = cast("Any", client.channel.stream_stream(SERVICE + rpc))
    return list(call(iter([encoded]), timeout=BOUND_SEC))


def test_a_batch_of_metadata_with_millions_of_values_is_refused_message_by_message(guarded: Guarded) -> None:
    message = metadata_of(field(1, field(1, b"a") + field(2, field(6, b"\x0a\x00" * 190_000))))
    status = Path(f"/proc/{guarded.deployment.pid_of('gateway')}/status")
    before_mib = peak_mib(status)
    with (
        connect(guarded.tcp, guarded.texts["bob"]) as bob,
        connect(guarded.tcp, guarded.texts["carol"]) as carol,
        ThreadPoolExecutor(1) as threads,
    ):
        flood = threads.submit(respond, bob, "SendMessages", field(1, message) * 40)
        work_sec = longest_work_sec(guarded.deployment, carol, flood)
        results = pb.SendMessagesResponse.FromString(flood.result()[0]).results
    assert [result.error.reason for result in results] == ["METADATA_TOO_LARGE"] * 40
    assert work_sec < MAX_REFUSAL_SEC, work_sec
    assert peak_mib(status) - before_mib < MAX_GROWTH_MIB


LARGE_STREAMS: dict[str, tuple[str, bytes, str]] = {  # each name with a path, a large request, and its reason
    "SendMessages": (SERVICE + "SendMessages", field(1, field(3, bytes(14 * MIB))), "NOT_YOURS"),
    "reflection": (f"/{REFLECTION}/ServerReflectionInfo", field(3, b"x" * (14 * MIB)), "REQUEST_MALFORMED"),
}


@pytest.mark.parametrize("name", LARGE_STREAMS)
def test_many_streams_of_large_requests_cost_the_memory_of_a_few(guarded: Guarded, name: str) -> None:
    path, request_bytes, reason = LARGE_STREAMS[name]
    status = Path(f"/proc/{guarded.deployment.pid_of('gateway')}/status")
    before_mib = peak_mib(status)
    with connect(guarded.tcp, guarded.texts["bob"]) as bob:
        stream = cast("Any", bob.channel.stream_stream(path))
        calls = [stream(iter([request_bytes]), timeout=BOUND_SEC) for _ in range(60)]
        reasons = {refusal_of(lambda call=call: list(call)).reason for call in calls}
    assert reasons <= {"TOO_MANY_STREAMS", reason}  # a fast gateway has answered the first when the last one comes
    assert peak_mib(status) - before_mib < MAX_STREAMS_GROWTH_MIB


@pytest.mark.parametrize("name", LARGE_STREAMS)
def test_streams_of_requests_beyond_the_limit_are_refused_before_they_send(guarded: Guarded, name: str) -> None:
    path, request_bytes, reason = LARGE_STREAMS[name]
    refused, may_send = threading.Semaphore(0), threading.Event()

    def send_late() -> Generator[bytes]:
        may_send.wait(BOUND_SEC)
        yield request_bytes

    with connect(guarded.tcp, guarded.texts["bob"]) as bob:
        stream = cast("Any", bob.channel.stream_stream(path))
        calls = [stream(send_late(), timeout=BOUND_SEC) for _ in range(60)]
        for call in calls:
            if not call.add_callback(refused.release):
                refused.release()  # it has ended already
        for _ in range(60 - CLIENT_STREAMS):
            assert refused.acquire(timeout=BOUND_SEC)
        may_send.set()
        reasons = [refusal_of(lambda call=call: list(call)).reason for call in calls]
    assert Counter(reasons) == {"TOO_MANY_STREAMS": 60 - CLIENT_STREAMS, reason: CLIENT_STREAMS}


def test_large_requests_without_a_token_cost_no_memory(guarded: Guarded) -> None:
    with connect(guarded.tcp) as anonymous:
        status = Path(f"/proc/{guarded.deployment.pid_of('gateway')}/status")
        before = peak_mib(status)
        send = cast("Any", anonymous.channel.unary_unary(SERVICE + "SendMessage"))
        calls = [send.future(bytes(15 * MIB), timeout=BOUND_SEC) for _ in range(20)]
        codes = {call.exception().code() for call in calls}
        assert codes == {grpc.StatusCode.UNAUTHENTICATED}
        check = cast("Any", anonymous.channel.unary_unary("/grpc.health.v1.Health/Check"))
        calls = [check.future(bytes(15 * MIB), timeout=BOUND_SEC) for _ in range(20)]
        codes = {call.exception().code() for call in calls}
        assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert peak_mib(status) - before < 200
        assert anonymous.is_serving()


def peak_mib(status: Path) -> int:
    return int(status.read_text().split("VmHWM:")[1].split()[0]) >> 10
