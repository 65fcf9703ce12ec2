"""Invalid input is refused with its reason and field; valid input is preserved in every view."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.client import Refusal, refusal_of, send_request, struct
from support.harness.deployment import Deployment, running_deployment

MIB = 1 << 20
NO_NAMES = {
    "empty": "",
    "starts with a dot": ".hidden",
    "is a dot": ".",
    "is two dots": "..",
    "traverses": "../../etc/passwd",
    "is absolute": "/etc/passwd",
    "has a slash": "a/b",
    "has a backslash": "a\\b",
    "has a NUL": "a\0b",
    "ends in a NUL": "abc\0",
    "ends in a line feed": "abc\n",
    "has a space": "a b",
    "has two @": "a@b@c",
    "has no agent": "@team",
    "has no team": "agent@",
    "team starts with a dot": "agent@.team",
    "team is two dots": "agent@..",
    "is not ASCII": "größe",
    "looks like ASCII": "аbc",
    "has a digit of another script": "abc٣",
    "has 129 characters": "x" * 129,
    "is very long": "x" * 100_000,
}
GOOD_NAMES = ["x", "x" * 128, "a.b_c-D9", "-", "_", "a.", "agent@team", "con", "a@" + "t" * 126]


@pytest.fixture(scope="module")
def deployment() -> Generator[Deployment]:
    with running_deployment() as deployment:
        yield deployment


def is_invalid(refusal: Refusal, reason: str, field: str) -> bool:
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, refusal
    assert (refusal.reason, refusal.domain, refusal.field) == (reason, "mailroom", field), refusal
    assert len(refusal.sentence) > 10, refusal
    return True


def nested_structs(levels: int) -> bytes:
    """Returns a Struct of the given number of levels, serialized; protobuf refuses to build the deepest."""
    struct_bytes = b""
    for _ in range(levels - 1):
        value = tagged(5, struct_bytes)
        struct_bytes = tagged(1, tagged(1, b"k") + tagged(2, value))
    return struct_bytes


def nested_lists(levels: int) -> bytes:
    """Returns a Struct with nested lists, of the given number of levels in total."""
    items = b""
    for _ in range(levels - 2):
        items = tagged(1, tagged(6, items))
    return tagged(1, tagged(1, b"k") + tagged(2, tagged(6, items)))


def tagged(field: int, payload: bytes) -> bytes:
    """Returns a length-delimited field in wire format."""
    size, length = len(payload), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([field << 3 | 2, *length, size]) + payload


def send_with_metadata(deployment: Deployment, agent: str, metadata: bytes) -> pb.SendMessageResponse:
    raw = tagged(1, agent.encode()) + tagged(2, b"tester") + tagged(5, metadata)
    return pb.SendMessageResponse.FromString(deployment.raw("SendMessage", raw))


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_an_invalid_recipient_is_refused_and_nothing_is_written(deployment: Deployment, name: str) -> None:
    before = deployment.everything_written()
    assert is_invalid(refusal_of(lambda: deployment.send(name, "x")), "RECIPIENT_INVALID", "recipient")
    assert deployment.everything_written() == before


def test_another_host_is_refused_without_a_hub_and_nothing_is_written(deployment: Deployment) -> None:
    before = deployment.everything_written()
    refusal = refusal_of(lambda: deployment.send("bob:build7", "x"))
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.NOT_FOUND, "HOST_UNKNOWN", "recipient")
    assert "no hub is configured" in refusal.sentence
    message = pb.SendMessageRequest(sender="tester", content="x")
    (copy,) = deployment.broadcast(["bob:build7"], message)
    assert copy.error.reason == "HOST_UNKNOWN"
    (bulk,) = deployment.send_many([pb.SendMessageRequest(recipient="bob:build7", sender="tester", content="x")])
    assert bulk.error.reason == "HOST_UNKNOWN"
    assert deployment.everything_written() == before


def test_a_mailbox_on_another_host_can_only_be_read_there(deployment: Deployment) -> None:
    refusal = refusal_of(lambda: deployment.check("bob:build7"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "AGENT_ELSEWHERE")
    refusal = refusal_of(lambda: deployment.acknowledge("bob:build7", ["0000000000000001"]))
    assert refusal.reason == "AGENT_ELSEWHERE"


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_an_invalid_sender_is_refused_and_nothing_is_written(deployment: Deployment, name: str) -> None:
    before = deployment.everything_written()
    assert is_invalid(refusal_of(lambda: deployment.send("abc", "x", sender=name)), "SENDER_INVALID", "sender")
    assert deployment.everything_written() == before


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_every_valid_name_is_accepted_as_recipient_and_sender(deployment: Deployment, name: str) -> None:
    message = deployment.send(name, "x", sender=name).message
    assert (message.recipient, message.sender) == (name, name)
    assert deployment.file(name, message.id)["session_id"] == name


@pytest.mark.parametrize("field", [1, 2, 3, 4, 6, 7, 10])
def test_a_field_that_is_not_utf_8_is_refused_and_nothing_is_written(deployment: Deployment, field: int) -> None:
    before = deployment.everything_written()
    raw = tagged(1, b"abc") + tagged(2, b"tester") + tagged(field, b"\xff\xfe")
    refusal = refusal_of(lambda: deployment.raw("SendMessage", raw))
    assert is_invalid(refusal, "REQUEST_MALFORMED", "")
    assert "UTF-8" in refusal.sentence
    assert deployment.everything_written() == before


@pytest.mark.parametrize("raw", [b"\xff" * 20, b"\x0a\x05ab", tagged(5, b"\x0a\x01")], ids=["noise", "cut", "metadata"])
def test_malformed_requests_are_refused(deployment: Deployment, raw: bytes) -> None:
    assert is_invalid(refusal_of(lambda: deployment.raw("SendMessage", raw)), "REQUEST_MALFORMED", "")


REFUSED: dict[str, tuple[pb.SendMessageRequest, str, str]] = {
    "content over 1 MiB": (send_request("abc", "x" * (MIB + 1)), "CONTENT_TOO_LARGE", "content"),
    "content over 1 MiB of UTF-8": (send_request("abc", "é" * (MIB // 2) + "x"), "CONTENT_TOO_LARGE", "content"),
    "content of 15 MiB": (send_request("abc", "x" * (15 * MIB)), "CONTENT_TOO_LARGE", "content"),
    "metadata over 64 KiB": (
        send_request("abc", metadata={"k": "x" * (65_536 - 8 + 1)}), "METADATA_TOO_LARGE", "metadata"
    ),
    "metadata over 64 KiB by escapes": (
        send_request("abc", metadata={"k": "\n" * 33_000}), "METADATA_TOO_LARGE", "metadata"
    ),
    "NaN": (send_request("abc", metadata={"k": float("nan")}), "METADATA_INVALID", "metadata"),
    "infinity": (send_request("abc", metadata={"k": [float("-inf")]}), "METADATA_INVALID", "metadata"),
    "type over 128 bytes": (send_request("abc", type="é" * 65), "TYPE_TOO_LONG", "type"),
    "thread_id over 128 bytes": (send_request("abc", thread_id="t" * 129), "THREAD_ID_TOO_LONG", "thread_id"),
    "in_reply_to a word": (send_request("abc", in_reply_to="yesterday"), "MESSAGE_ID_INVALID", "in_reply_to"),
    "in_reply_to in capitals": (
        send_request("abc", in_reply_to="1A205A4C1E800000"), "MESSAGE_ID_INVALID", "in_reply_to"
    ),
    "in_reply_to beyond all ids": (send_request("abc", in_reply_to="f" * 16), "MESSAGE_ID_INVALID", "in_reply_to"),
    "in_reply_to with a line feed": (
        send_request("abc", in_reply_to="1a205a4c1e800000\n"), "MESSAGE_ID_INVALID", "in_reply_to"
    ),
    "priority 5": (send_request("abc", priority=5), "PRIORITY_INVALID", "priority"),
    "priority -1": (send_request("abc", priority=-1), "PRIORITY_INVALID", "priority"),
    "ttl zero": (send_request("abc", ttl_sec=0), "TTL_INVALID", "ttl"),
    "ttl negative": (send_request("abc", ttl_sec=-1), "TTL_INVALID", "ttl"),
    "ttl a little negative": (send_request("abc", ttl_sec=-1e-9), "TTL_INVALID", "ttl"),
    "ttl of eleven years": (send_request("abc", ttl_sec=11 * 365 * 86_400), "TTL_INVALID", "ttl"),
    "key of 129 characters": (
        send_request("abc", idempotency_key="k" * 129), "IDEMPOTENCY_KEY_INVALID", "idempotency_key"
    ),
    "key not ASCII": (
        send_request("abc", idempotency_key="schlüssel"), "IDEMPOTENCY_KEY_INVALID", "idempotency_key"
    ),
    "key not printable": (send_request("abc", idempotency_key="a\nb"), "IDEMPOTENCY_KEY_INVALID", "idempotency_key"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_is_refused_with_reason_and_field(deployment: Deployment, case: str) -> None:
    request, reason, field = REFUSED[case]
    before = deployment.everything_written()
    assert is_invalid(refusal_of(lambda: deployment.call("SendMessage", request)), reason, field)
    assert deployment.everything_written() == before


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 2**63 - 1])
def test_an_excessive_ttl_is_refused(deployment: Deployment, seconds: int) -> None:
    request = send_request("abc")
    request.ttl.seconds = seconds
    assert is_invalid(refusal_of(lambda: deployment.call("SendMessage", request)), "TTL_INVALID", "ttl")


@pytest.mark.parametrize("levels", [33, 34, 40, 100, 200])
@pytest.mark.parametrize("nest", [nested_structs, nested_lists])
def test_metadata_of_more_than_32_levels_is_refused(
    deployment: Deployment, nest: Callable[[int], bytes], levels: int
) -> None:
    before = deployment.everything_written()
    refusal = refusal_of(lambda: send_with_metadata(deployment, "abc", nest(levels)))
    assert is_invalid(refusal, "METADATA_TOO_DEEP", "metadata")
    assert "32" in refusal.sentence
    assert deployment.everything_written() == before


@pytest.mark.parametrize("levels", [1, 2, 31, 32])
@pytest.mark.parametrize("nest", [nested_structs, nested_lists])
def test_metadata_of_up_to_32_levels_is_preserved(
    deployment: Deployment, nest: Callable[[int], bytes], levels: int
) -> None:
    agent = deployment.new_agent()
    if nest is nested_lists and levels == 1:
        levels = 3
    with_stream = deployment.live(agent)
    message = send_with_metadata(deployment, agent, nest(levels)).message
    expected = type(message.metadata).FromString(nest(levels))
    assert message.metadata == expected
    assert with_stream.messages(1)[0].metadata == expected
    assert deployment.check(agent).messages[0].metadata == expected
    assert deployment.get(message.id).message.metadata == expected
    with_stream.cancel()


# -- good input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["x", "é", "\U0001f4ec"])
def test_content_of_exactly_1_mib_is_preserved_everywhere(deployment: Deployment, unit: str) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    content = unit * (MIB // len(unit.encode()))
    message = deployment.send(agent, content).message
    assert message.content == content
    assert stream.messages(1)[0].content == content
    assert deployment.file(agent, message.id)["content"] == content
    assert deployment.listed(agent)[0].content == content
    stream.cancel()


def test_messages_around_the_largest_packet_size_are_preserved(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    sizes = [0, 1, 60_000, 65_000, 65_300, 65_400, *range(65_500, 65_540), 65_600, 70_000, 131_072, 200_000, 300_000]
    for size in sizes:
        assert deployment.send(agent, "x" * size).delivery.state == pb.DELIVERY_STATE_FILED
    assert [len(message.content) for message in stream.messages(len(sizes))] == sizes
    stream.cancel()


def test_many_concurrent_large_messages_are_preserved(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    contents = [f"{index:04d}" * 100_000 for index in range(12)]

    def send(content: str) -> pb.Message:
        return deployment.send(agent, content).message

    with ThreadPoolExecutor(6) as threads:
        sent = list(threads.map(send, contents))
    assert sorted(message.content for message in sent) == contents
    for message in sent:
        assert deployment.get(message.id).message.content == message.content
        assert deployment.file(agent, message.id)["content"] == message.content


TEXTS = {
    "empty": "",
    "NUL inside": "a\0b",
    "NUL alone": "\0",
    "emoji": "mail \U0001f4ec\U0001f468‍\U0001f469‍\U0001f467",
    "right to left": "שלום \u202egnorw",
    "not normalized": "e\u0301 é \ufb01",
    "line ends": "a\r\nb\n\rc\u2028d\u0085",
    "controls": "".join(map(chr, range(32))) + "\x7f",
    "noncharacters": "\ufffe\uffff\U0010ffff\ufeff",
    "JSON in it": '{"id": "x", "content": "\\u0000"}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_text_is_preserved_in_every_view(deployment: Deployment, text: str) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    message = deployment.send(agent, text, type=text[:20], thread_id=text[:20], metadata={text: text}).message
    listed, checked, got = (
        deployment.listed(agent)[0],
        deployment.check(agent).messages[0],
        deployment.get(message.id).message,
    )
    for copy in (message, stream.messages(1)[0], listed, checked, got):
        assert copy.content == text
        assert copy.type == (text[:20] or "text")
        assert copy.thread_id == text[:20]
        assert copy.metadata == struct({text: text})
    file = deployment.file(agent, message.id)
    assert (file["content"], file["metadata"]) == (text, {text: text})
    stream.cancel()


def test_metadata_of_every_json_type_is_preserved(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    metadata: dict[str, object] = {
        "null": None,
        "true": True,
        "false": False,
        "zero": 0,
        "negative": -17,
        "fraction": 0.1,
        "large": 1e300,
        "small": 5e-324,
        "whole up to 2**53": 2**53,
        "beyond 2**53": float(2**60),
        "text": "\U0001f4ec \0 \"quoted\"",
        "": "empty name",
        "list": [None, True, 1.5, "x", [], {}, [[1]], {"a": [{}]}],
        "object": {"empty": {}, "list": [], "deeper": {"deeper": {"n": None}}},
    }  # fmt: skip
    expected = struct(metadata)
    stream = deployment.live(agent)
    message = deployment.send(agent, metadata=metadata).message
    for copy in (message, stream.messages(1)[0], deployment.listed(agent)[0], deployment.get(message.id).message):
        assert copy.metadata == expected
    assert deployment.file(agent, message.id)["metadata"] == metadata
    stream.cancel()


def test_metadata_of_exactly_64_kib_is_preserved(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    metadata = {"k": "x" * (65_536 - 8)}
    message = deployment.send(agent, metadata=metadata).message
    assert message.metadata == struct(metadata)
    assert deployment.file(agent, message.id)["metadata"] == metadata


def test_a_message_without_metadata_has_an_empty_object(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    message = deployment.send(agent, "x").message
    for copy in (message, deployment.listed(agent)[0], deployment.check(agent).messages[0]):
        assert copy.HasField("metadata")
        assert not copy.metadata.fields
    assert deployment.file(agent, message.id)["metadata"] == {}


def test_every_optional_field_is_preserved_in_every_view(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    first = deployment.send(agent, "question").message
    sent = deployment.send(
        agent,
        "answer",
        sender="other@team",
        type="context_push",
        thread_id="t-1",
        in_reply_to=first.id,
        priority=pb.PRIORITY_URGENT,
        ttl_sec=3600.5,
    ).message
    assert sent.expires_at.ToMilliseconds() == sent.timestamp.ToMilliseconds() + 3_600_500
    for copy in (sent, stream.messages(2)[1], deployment.listed(agent)[0], deployment.get(sent.id).message):
        assert (copy.sender, copy.type, copy.thread_id) == ("other@team", "context_push", "t-1")
        assert (copy.in_reply_to, copy.priority) == (first.id, pb.PRIORITY_URGENT)
        assert copy.expires_at == sent.expires_at
        assert copy.timestamp == sent.timestamp
    file = deployment.file(agent, sent.id)
    assert (file["message_type"], file["thread_id"], file["in_reply_to"]) == ("context_push", "t-1", first.id)
    assert file["priority"] == "urgent"
    assert file["expires_at"].endswith("Z")
    stream.cancel()


@pytest.mark.parametrize("asked", [0, 1, 2, 3, 4])
def test_each_priority_is_accepted_and_the_default_is_normal(deployment: Deployment, asked: int) -> None:
    message = deployment.send(deployment.new_agent(), "x", priority=asked).message
    assert message.priority == (asked or pb.PRIORITY_NORMAL)


def test_a_new_message_is_unread_and_carries_the_time_of_its_arrival(deployment: Deployment) -> None:
    message = deployment.send(deployment.new_agent(), "x").message
    assert not message.read
    assert message.type == "text"
    assert not message.HasField("expires_at")
    assert not message.sender_verified
    assert int(message.id, 16) >> 20 == message.timestamp.ToMilliseconds()


def test_ids_grow_in_the_order_of_the_responses(deployment: Deployment) -> None:
    agents = [deployment.new_agent(), deployment.new_agent()]
    ids = [deployment.send(agents[index % 2], "x").message.id for index in range(50)]
    assert ids == sorted(set(ids))


def test_a_message_to_oneself_arrives(deployment: Deployment) -> None:
    agent = deployment.new_agent()
    stream = deployment.live(agent)
    sent = deployment.send(agent, "note", sender=agent)
    assert sent.delivery.recipient_known
    assert stream.messages(1)[0].id == sent.message.id
    stream.cancel()
