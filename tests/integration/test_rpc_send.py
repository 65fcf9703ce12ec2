"""SendMessage, BroadcastMessage and SendMessages of a real daemon: what is refused, what arrives, what repeats."""

import random
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from mailroom.v1 import mailroom_pb2 as pb
from support.harness.room import Refusal, Room, duration, refusal_of, running_room, send_request, struct, wait_until

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
def room() -> Generator[Room]:
    with running_room() as room:
        yield room


def is_invalid(refusal: Refusal, reason: str, field: str) -> bool:
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, refusal
    assert (refusal.reason, refusal.domain, refusal.field) == (reason, "mailroom", field), refusal
    assert len(refusal.sentence) > 10, refusal
    return True


def nested_structs(levels: int) -> bytes:
    """Returns a Struct of so many levels, serialized: protobuf itself refuses to build the deepest."""
    struct_bytes = b""
    for _ in range(levels - 1):
        value = tagged(5, struct_bytes)
        struct_bytes = tagged(1, tagged(1, b"k") + tagged(2, value))
    return struct_bytes


def nested_lists(levels: int) -> bytes:
    """Returns a Struct with lists inside each other, so many levels altogether."""
    items = b""
    for _ in range(levels - 2):
        items = tagged(1, tagged(6, items))
    return tagged(1, tagged(1, b"k") + tagged(2, tagged(6, items)))


def tagged(field: int, payload: bytes) -> bytes:
    """Returns a length-delimited field as it is on the wire."""
    size, length = len(payload), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([field << 3 | 2, *length, size]) + payload


def send_with_metadata(room: Room, agent: str, metadata: bytes) -> pb.SendMessageResponse:
    raw = tagged(1, agent.encode()) + tagged(2, b"tester") + tagged(5, metadata)
    return pb.SendMessageResponse.FromString(room.raw("SendMessage", raw))


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_an_invalid_recipient_is_refused_and_nothing_is_written(room: Room, name: str) -> None:
    before = room.everything_written()
    assert is_invalid(refusal_of(lambda: room.send(name, "x")), "RECIPIENT_INVALID", "recipient")
    assert room.everything_written() == before


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_an_invalid_sender_is_refused_and_nothing_is_written(room: Room, name: str) -> None:
    before = room.everything_written()
    assert is_invalid(refusal_of(lambda: room.send("abc", "x", sender=name)), "SENDER_INVALID", "sender")
    assert room.everything_written() == before


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_every_valid_name_is_accepted_as_recipient_and_sender(room: Room, name: str) -> None:
    message = room.send(name, "x", sender=name).message
    assert (message.recipient, message.sender) == (name, name)
    assert room.file(name, message.id)["session_id"] == name


@pytest.mark.parametrize("field", [1, 2, 3, 4, 6, 7, 10])
def test_a_field_that_is_not_utf_8_is_refused_and_nothing_is_written(room: Room, field: int) -> None:
    before = room.everything_written()
    raw = tagged(1, b"abc") + tagged(2, b"tester") + tagged(field, b"\xff\xfe")
    refusal = refusal_of(lambda: room.raw("SendMessage", raw))
    assert is_invalid(refusal, "REQUEST_MALFORMED", "")
    assert "UTF-8" in refusal.sentence
    assert room.everything_written() == before


@pytest.mark.parametrize("raw", [b"\xff" * 20, b"\x0a\x05ab", tagged(5, b"\x0a\x01")], ids=["noise", "cut", "metadata"])
def test_malformed_requests_are_refused(room: Room, raw: bytes) -> None:
    assert is_invalid(refusal_of(lambda: room.raw("SendMessage", raw)), "REQUEST_MALFORMED", "")


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
def test_invalid_input_is_refused_with_reason_and_field(room: Room, case: str) -> None:
    request, reason, field = REFUSED[case]
    before = room.everything_written()
    assert is_invalid(refusal_of(lambda: room.call("SendMessage", request)), reason, field)
    assert room.everything_written() == before


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 2**63 - 1])
def test_an_excessive_ttl_is_refused(room: Room, seconds: int) -> None:
    request = send_request("abc")
    request.ttl.seconds = seconds
    assert is_invalid(refusal_of(lambda: room.call("SendMessage", request)), "TTL_INVALID", "ttl")


@pytest.mark.parametrize("levels", [33, 34, 40, 100, 200])
@pytest.mark.parametrize("nest", [nested_structs, nested_lists])
def test_metadata_of_more_than_32_levels_is_refused(room: Room, nest: Callable[[int], bytes], levels: int) -> None:
    before = room.everything_written()
    refusal = refusal_of(lambda: send_with_metadata(room, "abc", nest(levels)))
    assert is_invalid(refusal, "METADATA_TOO_DEEP", "metadata")
    assert "32" in refusal.sentence
    assert room.everything_written() == before


@pytest.mark.parametrize("levels", [1, 2, 31, 32])
@pytest.mark.parametrize("nest", [nested_structs, nested_lists])
def test_metadata_of_up_to_32_levels_is_preserved(room: Room, nest: Callable[[int], bytes], levels: int) -> None:
    agent = room.new_agent()
    if nest is nested_lists and levels == 1:
        levels = 3
    with_stream = room.live(agent)
    message = send_with_metadata(room, agent, nest(levels)).message
    expected = type(message.metadata).FromString(nest(levels))
    assert message.metadata == expected
    assert with_stream.messages(1)[0].metadata == expected
    assert room.check(agent).messages[0].metadata == expected
    assert room.get(message.id).message.metadata == expected
    with_stream.cancel()


# -- good input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["x", "é", "\U0001f4ec"])
def test_content_of_exactly_1_mib_is_preserved_everywhere(room: Room, unit: str) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    content = unit * (MIB // len(unit.encode()))
    message = room.send(agent, content).message
    assert message.content == content
    assert stream.messages(1)[0].content == content
    assert room.file(agent, message.id)["content"] == content
    assert room.listed(agent)[0].content == content
    stream.cancel()


def test_messages_around_the_largest_packet_size_are_preserved(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    sizes = [0, 1, 60_000, 65_000, 65_300, 65_400, *range(65_500, 65_540), 65_600, 70_000, 131_072, 200_000, 300_000]
    for size in sizes:
        assert room.send(agent, "x" * size).delivery.state == pb.DELIVERY_STATE_FILED
    assert [len(message.content) for message in stream.messages(len(sizes))] == sizes
    stream.cancel()


def test_many_concurrent_large_messages_are_preserved(room: Room) -> None:
    agent = room.new_agent()
    contents = [f"{index:04d}" * 100_000 for index in range(12)]

    def send(content: str) -> pb.Message:
        return room.send(agent, content).message

    with ThreadPoolExecutor(6) as threads:
        sent = list(threads.map(send, contents))
    assert sorted(message.content for message in sent) == contents
    for message in sent:
        assert room.get(message.id).message.content == message.content
        assert room.file(agent, message.id)["content"] == message.content


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
def test_any_text_is_preserved_in_every_view(room: Room, text: str) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    message = room.send(agent, text, type=text[:20], thread_id=text[:20], metadata={text: text}).message
    listed, checked, got = room.listed(agent)[0], room.check(agent).messages[0], room.get(message.id).message
    for copy in (message, stream.messages(1)[0], listed, checked, got):
        assert copy.content == text
        assert copy.type == (text[:20] or "text")
        assert copy.thread_id == text[:20]
        assert copy.metadata == struct({text: text})
    file = room.file(agent, message.id)
    assert (file["content"], file["metadata"]) == (text, {text: text})
    stream.cancel()


def test_metadata_of_every_json_type_is_preserved(room: Room) -> None:
    agent = room.new_agent()
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
    stream = room.live(agent)
    message = room.send(agent, metadata=metadata).message
    for copy in (message, stream.messages(1)[0], room.listed(agent)[0], room.get(message.id).message):
        assert copy.metadata == expected
    assert room.file(agent, message.id)["metadata"] == metadata
    stream.cancel()


def test_metadata_of_exactly_64_kib_is_preserved(room: Room) -> None:
    agent = room.new_agent()
    metadata = {"k": "x" * (65_536 - 8)}
    message = room.send(agent, metadata=metadata).message
    assert message.metadata == struct(metadata)
    assert room.file(agent, message.id)["metadata"] == metadata


def test_a_message_without_metadata_has_an_empty_object(room: Room) -> None:
    agent = room.new_agent()
    message = room.send(agent, "x").message
    for copy in (message, room.listed(agent)[0], room.check(agent).messages[0]):
        assert copy.HasField("metadata")
        assert not copy.metadata.fields
    assert room.file(agent, message.id)["metadata"] == {}


def test_every_optional_field_is_preserved_in_every_view(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    first = room.send(agent, "question").message
    sent = room.send(
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
    for copy in (sent, stream.messages(2)[1], room.listed(agent)[0], room.get(sent.id).message):
        assert (copy.sender, copy.type, copy.thread_id) == ("other@team", "context_push", "t-1")
        assert (copy.in_reply_to, copy.priority) == (first.id, pb.PRIORITY_URGENT)
        assert copy.expires_at == sent.expires_at
        assert copy.timestamp == sent.timestamp
    file = room.file(agent, sent.id)
    assert (file["message_type"], file["thread_id"], file["in_reply_to"]) == ("context_push", "t-1", first.id)
    assert file["priority"] == "urgent"
    assert file["expires_at"].endswith("Z")
    stream.cancel()


@pytest.mark.parametrize("asked", [0, 1, 2, 3, 4])
def test_each_priority_is_accepted_and_the_default_is_normal(room: Room, asked: int) -> None:
    message = room.send(room.new_agent(), "x", priority=asked).message
    assert message.priority == (asked or pb.PRIORITY_NORMAL)


def test_a_new_message_is_unread_and_carries_the_time_of_its_arrival(room: Room) -> None:
    message = room.send(room.new_agent(), "x").message
    assert not message.read
    assert message.type == "text"
    assert not message.HasField("expires_at")
    assert not message.sender_verified
    assert int(message.id, 16) >> 20 == message.timestamp.ToMilliseconds()


def test_ids_grow_in_the_order_of_the_responses(room: Room) -> None:
    agents = [room.new_agent(), room.new_agent()]
    ids = [room.send(agents[index % 2], "x").message.id for index in range(50)]
    assert ids == sorted(set(ids))


def test_a_message_to_oneself_arrives(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    sent = room.send(agent, "note", sender=agent)
    assert sent.delivery.recipient_known
    assert stream.messages(1)[0].id == sent.message.id
    stream.cancel()


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_a_recipient_is_unknown_until_it_connects(room: Room) -> None:
    agent = room.new_agent()
    first = room.send(agent, "x").delivery
    assert not first.recipient_known
    assert not first.HasField("recipient_last_seen")
    assert first.state == pb.DELIVERY_STATE_FILED
    assert (first.inbox_file_error, first.team_inbox_error, first.subscribers) == ("", "", 0)
    room.check(agent)
    now = room.send(agent, "x")
    assert now.delivery.recipient_known
    assert abs(now.delivery.recipient_last_seen.ToMilliseconds() - now.message.timestamp.ToMilliseconds()) < 5000


def test_a_recipient_that_has_sent_before_is_known(room: Room) -> None:
    agent = room.new_agent()
    room.send(room.new_agent(), "x", sender=agent)
    assert room.send(agent, "x").delivery.recipient_known


def test_observing_does_not_make_an_agent_known(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent, observe=True)
    room.check(agent, observe=True)
    room.stats(agent)
    room.listed(agent)
    delivery = room.send(agent, "x").delivery
    assert not delivery.recipient_known
    assert delivery.subscribers == 0
    stream.cancel()


def test_the_response_counts_the_live_subscribers(room: Room) -> None:
    agent = room.new_agent()
    streams = [room.live(agent) for _ in range(3)]
    observer, dashboard = room.live(agent, observe=True), room.live(all_agents=True)
    delivery = room.send(agent, "x").delivery
    assert (delivery.subscribers, delivery.recipient_known) == (3, True)
    for stream in (*streams, observer, dashboard):
        stream.cancel()
    wait_until(lambda: room.stats(agent).subscribers == 0, "the streams are gone")
    assert room.send(agent, "x").delivery.subscribers == 0


# -- idempotency ------------------------------------------------------------------------------------------------------


def test_a_repeated_key_returns_the_first_message(room: Room) -> None:
    agent = room.new_agent()
    stream = room.live(agent)
    first = room.send(agent, "once", idempotency_key="k", metadata={"a": 1}, sender=agent)
    again = [room.send(agent, "once", idempotency_key="k", metadata={"a": 1}, sender=agent) for _ in range(3)]
    assert {answer.message.id for answer in again} == {first.message.id}
    assert {answer.message.timestamp.ToMilliseconds() for answer in again} == {first.message.timestamp.ToMilliseconds()}
    assert room.number_stored(agent) == 1
    assert room.filed(agent) == [first.message.id]
    assert room.stats(agent).unread == 1
    last = room.send(agent, "last").message
    assert [message.id for message in stream.messages(2)] == [first.message.id, last.id]
    stream.cancel()


def test_a_key_belongs_to_its_sender(room: Room) -> None:
    agent = room.new_agent()
    ids = {room.send(agent, "x", sender=sender, idempotency_key="k").message.id for sender in ("ann", "bob", "ann")}
    assert len(ids) == 2


def test_a_key_reused_for_a_different_request_is_refused(room: Room) -> None:
    agent, sender = room.new_agent(), room.new_agent()
    first = room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1})
    different: list[Callable[[], object]] = [
        lambda: room.send(agent, "two", sender=sender, idempotency_key="k", metadata={"a": 1}),
        lambda: room.send(room.new_agent(), "one", sender=sender, idempotency_key="k", metadata={"a": 1}),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 2}),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k"),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1}, ttl_sec=1),
        lambda: room.send(agent, "one", sender=sender, idempotency_key="k", metadata={"a": 1}, type="other"),
    ]
    for call in different:
        refusal = refusal_of(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")
        assert refusal.domain == "mailroom"
    assert room.filed(agent) == [first.message.id]
    assert room.stats(agent).total == 1


def test_the_order_of_metadata_keys_does_not_change_a_request(room: Room) -> None:
    agent = room.new_agent()
    names = [f"name-{index}" for index in range(20)]
    ids: set[str] = set()
    for seed in range(3):
        random.Random(seed).shuffle(names)
        ids.add(room.send(agent, idempotency_key="order", sender=agent, metadata=dict.fromkeys(names, 1)).message.id)
    assert len(ids) == 1


def test_concurrent_sends_with_one_key_are_one_message(room: Room) -> None:
    agent = room.new_agent()

    def send(_: int) -> pb.SendMessageResponse:
        return room.send(agent, "x", sender=agent, idempotency_key="same")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(send, range(64)))
    assert len({answer.message.id for answer in answers}) == 1
    assert {answer.delivery.state for answer in answers} == {pb.DELIVERY_STATE_FILED}
    assert {answer.message.read for answer in answers} == {False}
    assert {answer.message.timestamp.ToMilliseconds() for answer in answers} == {
        answers[0].message.timestamp.ToMilliseconds()
    }
    assert room.filed(agent) == [answers[0].message.id]
    assert (room.stats(agent).total, room.stats(agent).unread) == (1, 1)


def test_one_key_twice_in_one_batch_is_one_message(room: Room) -> None:
    agent = room.new_agent()
    results = room.send_many([send_request(agent, "x", sender=agent, idempotency_key="k")] * 20)
    assert {result.ok.message.id for result in results} == set(room.filed(agent))
    assert len(room.filed(agent)) == 1
    assert {result.ok.delivery.state for result in results} == {pb.DELIVERY_STATE_FILED}
    assert {result.ok.message.read for result in results} == {False}


def test_a_repeated_send_of_a_read_message_says_read(room: Room) -> None:
    agent = room.new_agent()
    first = room.send(agent, "x", sender=agent, idempotency_key="k").message
    room.acknowledge(agent, [first.id])
    again = room.send(agent, "x", sender=agent, idempotency_key="k")
    assert again.message.id == first.id
    assert (again.delivery.state, again.message.read) == (pb.DELIVERY_STATE_READ, True)
    assert room.filed(agent) == []
    assert room.stats(agent).unread == 0


def test_a_key_of_128_printable_characters_is_accepted(room: Room) -> None:
    agent = room.new_agent()
    keys = ["k" * 128, "a b", "".join(map(chr, range(33, 127))), " "]
    ids = [[room.send(agent, "x", sender=agent, idempotency_key=key).message.id for key in keys] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4


# -- broadcast --------------------------------------------------------------------------------------------------------


def test_a_broadcast_returns_independent_copies_in_recipient_order(room: Room) -> None:
    agents = [room.new_agent() for _ in range(20)]
    results = room.broadcast(agents, send_request("", "all", metadata={"a": 1}, type="news"))
    assert [result.ok.message.recipient for result in results] == agents
    assert len({result.ok.message.id for result in results}) == 20
    for agent, result in zip(agents, results, strict=True):
        assert result.ok.message.content == ""
        assert not result.ok.message.HasField("metadata")
        (stored,) = room.listed(agent)
        assert (stored.id, stored.content, stored.type) == (result.ok.message.id, "all", "news")
        assert room.file(agent, stored.id)["metadata"] == {"a": 1}
    room.acknowledge(agents[0], [results[0].ok.message.id])
    assert [room.stats(agent).unread for agent in agents] == [0] + [1] * 19


def test_an_invalid_recipient_of_a_broadcast_stops_no_other_copy(room: Room) -> None:
    good = [room.new_agent(), room.new_agent()]
    results = room.broadcast([good[0], "../../x", "", good[1]], send_request("", "x"))
    assert [result.WhichOneof("result") for result in results] == ["ok", "error", "error", "ok"]
    for result in results[1:3]:
        assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert result.error.reason == "RECIPIENT_INVALID"
        assert result.error.message
    assert "missing" in results[2].error.message
    assert [room.stats(agent).unread for agent in good] == [1, 1]


def test_a_broadcast_without_recipients_returns_no_results(room: Room) -> None:
    before = room.everything_written()
    assert room.broadcast([], send_request("", "x")) == []
    assert room.everything_written() == before


def test_a_broadcast_of_an_invalid_message_fails_for_every_recipient(room: Room) -> None:
    before = room.everything_written()
    results = room.broadcast(["a", "b"], send_request("", "x", sender=""))
    assert [result.error.reason for result in results] == ["SENDER_INVALID"] * 2
    assert room.everything_written() == before


def test_a_broadcast_whose_message_names_a_recipient_is_refused(room: Room) -> None:
    before = room.everything_written()
    refusal = refusal_of(lambda: room.broadcast(["a"], send_request("b", "x")))
    assert is_invalid(refusal, "OPTIONS_CONFLICT", "message.recipient")
    assert room.everything_written() == before


def test_a_broadcast_may_have_a_thousand_recipients_but_not_more(room: Room) -> None:
    agents = [f"crowd-{index}" for index in range(1001)]
    results = room.broadcast(agents[:1000], send_request("", "x"))
    assert [result.ok.message.recipient for result in results] == agents[:1000]
    before = room.everything_written()
    refusal = refusal_of(lambda: room.broadcast(agents, send_request("", "x")))
    assert is_invalid(refusal, "TOO_MANY", "recipients")
    assert room.everything_written() == before


def test_a_repeated_broadcast_with_a_key_stores_nothing_twice(room: Room) -> None:
    agents = [room.new_agent() for _ in range(5)]
    message = send_request("", "x", sender=agents[0], idempotency_key="k" * 128)
    first = room.broadcast(agents[:3], message)
    again = room.broadcast(agents[::-1], message)
    ids = {result.ok.message.recipient: result.ok.message.id for result in first}
    assert {answer.ok.message.recipient: answer.ok.message.id for answer in again}.items() >= ids.items()
    assert [room.stats(agent).total for agent in agents] == [1] * 5
    single = room.send(agents[0], "x", sender=agents[0], idempotency_key="k" * 128)
    assert single.message.id not in ids.values()


def test_a_recipient_named_twice_gets_two_copies_once_for_each_key(room: Room) -> None:
    agent, other = room.new_agent(), room.new_agent()
    two = room.broadcast([agent, agent], send_request("", "x"))
    assert len({result.ok.message.id for result in two}) == 2
    keyed = send_request("", "x", idempotency_key="twice", sender=other)
    first, again = ([result.ok.message.id for result in room.broadcast([other, agent, other], keyed)] for _ in range(2))
    assert first == again
    assert len(set(first)) == 3
    assert room.stats(other).total == 2


# -- bulk -------------------------------------------------------------------------------------------------------------


def test_a_bulk_send_returns_results_in_the_order_of_its_requests(room: Room) -> None:
    agent = room.new_agent()
    requests = [send_request(agent, str(index)) for index in range(10)]
    requests[3].recipient = "../x"
    requests[7].sender = ""
    results = room.send_many(requests)
    kinds = [result.error.reason or result.WhichOneof("result") for result in results]
    assert kinds == ["ok"] * 3 + ["RECIPIENT_INVALID"] + ["ok"] * 3 + ["SENDER_INVALID"] + ["ok"] * 2
    sent = [result.ok.message for result in results if result.HasField("ok")]
    assert all(message.content == "" and not message.HasField("metadata") for message in sent)
    assert [message.content for message in room.check(agent).messages] == ["0", "1", "2", "4", "5", "6", "8", "9"]
    assert [message.id for message in sent] == room.filed(agent)


def test_a_bulk_stream_accepts_many_batches_of_a_thousand_messages(room: Room) -> None:
    agent = room.new_agent()
    ids = room.fill(agent, 1501)
    assert len(set(ids)) == 1501
    assert ids == sorted(ids)
    assert room.stats(agent).unread == 1501
    assert room.filed(agent) == ids


def test_an_oversized_batch_ends_the_stream_but_keeps_answered_batches(room: Room) -> None:
    agent = room.new_agent()
    small = pb.SendMessagesRequest(messages=[send_request(agent, "x")])
    large = pb.SendMessagesRequest(messages=[send_request(agent, "x")] * 1001)
    answers = room.call("SendMessages", iter([small, large]))
    assert next(answers).results[0].HasField("ok")
    assert is_invalid(refusal_of(lambda: next(answers)), "TOO_MANY", "messages")
    assert room.stats(agent).total == 1


def test_an_empty_batch_and_an_empty_stream_succeed(room: Room) -> None:
    assert [len(answer.results) for answer in room.call("SendMessages", iter([pb.SendMessagesRequest()]))] == [0]
    assert list(room.call("SendMessages", iter(()))) == []


# -- limits of a mailbox ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict_room() -> Generator[Room]:
    with running_room("--max-unread", "5", "--loop-guard", "10") as room:
        yield room


def test_a_full_mailbox_refuses_sends_until_a_message_is_read(strict_room: Room) -> None:
    room, agent = strict_room, strict_room.new_agent()
    ids = [room.send(agent, "x").message.id for _ in range(5)]
    before = room.everything_written()
    refusal = refusal_of(lambda: room.send(agent, "x"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert refusal.domain == "mailroom"
    assert agent in refusal.sentence
    assert room.everything_written() == before
    assert room.send(room.new_agent(), "others are not full")
    room.acknowledge(agent, ids[:1])
    room.send(agent, "x")
    assert refusal_of(lambda: room.send(agent, "x")).reason == "MAILBOX_FULL"


def test_a_mailbox_accepts_exactly_its_limit_from_concurrent_senders(strict_room: Room) -> None:
    room, agent = strict_room, strict_room.new_agent()
    results = room.send_many([send_request(agent, "x", sender=f"s{index}") for index in range(50)])
    assert [result.WhichOneof("result") for result in results].count("ok") == 5
    assert {result.error.reason for result in results if result.HasField("error")} == {"MAILBOX_FULL"}
    assert room.stats(agent).unread == 5
    assert len(room.filed(agent)) == 5


def test_a_repeated_send_succeeds_after_its_mailbox_became_full(strict_room: Room) -> None:
    room, agent = strict_room, strict_room.new_agent()
    first = room.send(agent, "x", sender=agent, idempotency_key="k").message
    for _ in range(4):
        room.send(agent, "x")
    assert room.send(agent, "x", sender=agent, idempotency_key="k").message.id == first.id


def test_a_message_loop_of_two_agents_is_stopped(strict_room: Room) -> None:
    room = strict_room
    ann, bob = room.new_agent(), room.new_agent()

    def answer(index: int) -> None:
        sender, recipient = (ann, bob) if index % 2 else (bob, ann)
        room.acknowledge(recipient, [room.send(recipient, "re:", sender=sender).message.id])

    for index in range(10):
        answer(index)
    refusal = refusal_of(lambda: answer(10))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOOP_GUARD")
    assert 0 < refusal.retry_after_sec <= 60
    assert ann in refusal.sentence
    assert bob in refusal.sentence
    assert room.send(ann, "from somebody else").message.id


def test_one_way_traffic_is_not_a_loop(strict_room: Room) -> None:
    room = strict_room
    ann, bob = room.new_agent(), room.new_agent()
    for _ in range(40):
        room.acknowledge(bob, [room.send(bob, "log line", sender=ann).message.id])


# -- the daemon restarts ----------------------------------------------------------------------------------------------


def test_keys_survive_the_death_of_the_daemon(room: Room) -> None:
    agent = room.new_agent()
    first = room.send(agent, "once", sender=agent, idempotency_key="k")
    message = send_request("", "all", sender=agent, idempotency_key="b")
    copies = [result.ok.message.id for result in room.broadcast([agent, "other"], message)]
    room.kill()
    room.start()
    again = room.send(agent, "once", sender=agent, idempotency_key="k")
    assert (again.message.id, again.delivery.state) == (first.message.id, pb.DELIVERY_STATE_FILED)
    assert [result.ok.message.id for result in room.broadcast([agent, "other"], message)] == copies
    refusal = refusal_of(lambda: room.send(agent, "other", sender=agent, idempotency_key="k"))
    assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    assert room.stats(agent).total == 2
    assert len(room.filed(agent)) == 2


def test_a_ttl_from_a_millisecond_to_ten_years_is_accepted(room: Room) -> None:
    for ttl_sec in (0.001, 10 * 365 * 86_400.0):
        message = room.send(room.new_agent(), "x", ttl_sec=ttl_sec).message
        lives = message.expires_at.ToMilliseconds() - message.timestamp.ToMilliseconds()
        assert lives == duration(ttl_sec).ToMilliseconds()
