"""Values — sizes, Unicode, Struct, NaN, Duration: what goes in comes out."""

import json

from conformance.adapter import Connection, Json, Refused
from conformance.scenario import LIBRARY, Run, as_int, message_of, scenario

MIB = 1 << 20
TEXTS = {
    "empty": "",
    "NUL": "a\0b",
    "beyond the BMP": "mail \U0001f4ec\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "right to left": "שלום \u202egnorw",
    "not normalized": "e\u0301 é \ufb01",
    "line ends": "a\r\nb\n\rc\u2028d\u0085",
    "controls": "".join(map(chr, range(32))) + "\x7f",
    "noncharacters": "\ufffe\uffff\U0010ffff\ufeff",
    "JSON": '{"id": "x", "content": "\\u0000"}',
}


@scenario("1 MiB of content, unchanged")
def large(run: Run) -> None:
    """The largest message, sent, streamed and read."""
    owner, bob = run.owner(), run.name("bob")
    content = "é" * (MIB // 2)
    stream = owner.live(bob)
    owner.send(bob, content)
    assert message_of(stream.expect())["content"] == content
    (found,) = owner.call("CheckInbox", {"agent": bob})["messages"]
    assert found["content"] == content
    stream.cancel()


@scenario("a request of almost 16 MiB; a larger one is refused", LIBRARY)
def largest_request(run: Run) -> None:
    """The refusal comes from gRPC itself, so it has no reason, and must not be retried."""
    owner, bob = run.owner(), run.name("bob")
    message = {"recipient": bob, "sender": "tester", "content": "x" * (MIB - 100)}
    (response,) = owner.bulk([{"messages": [message] * 15}])
    assert all("ok" in result for result in response["results"])
    error = _bulk_error(owner, [{"messages": [message] * 17}])
    # Some libraries notice only that the daemon closed the stream.
    assert error["code"] in ("RESOURCE_EXHAUSTED", "CANCELLED", "INTERNAL", "UNAVAILABLE"), error
    assert not error.get("reason"), error
    assert owner.send(bob, "goes on")["message"]["id"]


def _bulk_error(owner: Connection, requests: list[Json]) -> Json:
    try:
        responses = owner.bulk(requests, 20)
    except Refused as refused:
        return refused.error
    raise AssertionError(f"17 MiB were accepted: {str(responses)[:200]}")


@scenario("17 messages of 1 MiB in bulk, in requests of up to 16 MiB")
def large_bulk(run: Run) -> None:
    """An SDK divides them by itself."""
    owner, bob = run.owner(), run.name("bob")
    message = {"recipient": bob, "sender": "tester", "content": "x" * (MIB - 100)}
    responses = owner.bulk([{"messages": [message] * 12}, {"messages": [message] * 5}])
    results = [result for response in responses for result in response["results"]]
    assert len(results) == 17
    assert all("ok" in result for result in results)


@scenario("all of Unicode")
def unicode(run: Run) -> None:
    """In content, type, thread and metadata."""
    owner, bob = run.owner(), run.name("bob")
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    parts = [every[at : at + 200_000] for at in range(0, len(every), 200_000)]
    for text in (*TEXTS.values(), *parts):
        short = text[:20]
        sent = owner.send(bob, text, type=short, threadId=short, metadata={short: [short]})["message"]
        (found,) = owner.call("CheckInbox", {"agent": bob})["messages"]
        assert found.get("content", "") == text, f"{text[:20]!r}"
        assert found["type"] == (short or "text")
        assert found.get("threadId", "") == short
        assert found["metadata"] == {short: [short]}, found["metadata"]
        owner.call("AcknowledgeMessages", {"agent": bob, "messageIds": [sent["id"]]})


@scenario("metadata of every type of JSON")
def struct(run: Run) -> None:
    """Numbers are doubles: 2^53 arrives unchanged, and so does −0.0, whose sign some languages do not show in JSON."""
    owner, bob = run.owner(), run.name("bob")
    metadata: Json = {
        "null": None,
        "true": True,
        "false": False,
        "zero": 0,
        "negative": -17,
        "fraction": 0.1,
        "large": 1e300,
        "small": 5e-324,
        "2^53": 2**53,
        "text": '\U0001f4ec "quoted"',
        "": "empty name",
        "list": [None, True, 1.5, "x", [], {}, [[1]], {"a": [{}]}],
        "object": {"empty": {}, "list": [], "deeper": {"deeper": {"n": None}}},
        "__proto__": {"polluted": True},
    }
    sent = owner.send(bob, metadata={**metadata, "minus zero": -0.0})["message"]
    (found,) = owner.call("CheckInbox", {"agent": bob})["messages"]
    file = json.loads((run.main.daemon.inbox / bob / f"{sent['id']}.json").read_bytes())
    for body in (sent, found, file):
        assert body["metadata"].pop("minus zero") == 0
        assert body["metadata"] == metadata, body["metadata"]


@scenario("metadata of 32 levels, which are 98 of protobuf")
def deep(run: Run) -> None:
    """Sent, streamed and read; many libraries stop at 100."""
    owner, bob = run.owner(), run.name("bob")
    stream = owner.live(bob, maxBatch=10)
    metadata: Json = {"level": 32}
    for level in range(31, 0, -1):
        metadata = {"level": level, "deeper": metadata}
    owner.send(bob, metadata=metadata)
    event = stream.expect()
    (streamed,) = event.get("events") or [event]
    (found,) = owner.call("CheckInbox", {"agent": bob})["messages"]
    assert message_of(streamed)["metadata"] == found["metadata"] == metadata, found
    stream.cancel()


@scenario("NaN in metadata is refused")
def nan(run: Run) -> None:
    """JSON has no such number."""
    request = {"recipient": run.name("bob"), "sender": "tester", "content": "x"}
    error = run.owner().refusal("SendMessage", request, nan=True)
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "METADATA_INVALID"), error


@scenario("an absent Duration is not a zero")
def durations(run: Run) -> None:
    """Without ttl a message never expires; with a fraction it does."""
    owner, bob = run.owner(), run.name("bob")
    assert not owner.send(bob)["message"].get("expiresAt")
    assert owner.send(bob, ttl="3600.5s")["message"]["expiresAt"]
    assert owner.refusal("SendMessage", {"recipient": bob, "sender": "t", "ttl": "0s"})["reason"] == "TTL_INVALID"
    assert len(owner.call("CheckInbox", {"agent": bob, "wait": "0s"})["messages"]) == 2
    (box,) = owner.call("GetMailboxStats", {"agent": bob})["mailboxes"]
    assert as_int(box["total"]) == 2


@scenario("reply_by: an answer in time, or one receipt OVERDUE")
def reply_by(run: Run) -> None:
    """A time that has passed makes the receipt at once."""
    owner, alice = run.owner(), run.name("alice")
    stream = owner.live(alice, includeReceipts=True)
    message = owner.send(run.name("bob"), "soon?", sender=alice, replyBy="2020-01-01T00:00:00Z")["message"]
    assert message["replyBy"].startswith("2020-01-01T00:00:00"), message
    states = [stream.expect()["receipt"]["state"] for _ in range(2)]
    assert sorted(states) == ["DELIVERY_STATE_FILED", "DELIVERY_STATE_OVERDUE"], states
    stream.assert_silent(0.3)
    stream.cancel()
