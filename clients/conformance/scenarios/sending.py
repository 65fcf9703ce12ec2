"""Sending — one message, in bulk, to many, twice, and at the same time."""

import json
import re

from conformance.scenario import SDK, Run, scenario

ID = re.compile("[0-9a-f]{16}")


@scenario("a call over the Unix socket")
def socket(run: Run) -> None:
    """Sends, and finds the message."""
    owner, bob = run.owner(), run.name("bob")
    sent = owner.send(bob, "go", type="order", threadId="t1", priority="PRIORITY_HIGH")
    message, delivery = sent["message"], sent["delivery"]
    assert ID.fullmatch(message["id"]), message
    assert delivery["state"] == "DELIVERY_STATE_FILED", delivery
    assert not delivery.get("recipientKnown"), delivery
    (found,) = owner.call("CheckInbox", {"agent": bob})["messages"]
    expected = {"id": message["id"], "recipient": bob, "sender": "tester", "content": "go", "type": "order"}
    expected |= {"threadId": "t1", "priority": "PRIORITY_HIGH"}
    assert {key: found.get(key) for key in expected} == expected, found


@scenario("a message is durable on the disk, and a file, when its send is answered")
def dual_write(run: Run) -> None:
    """Looks into the inbox and the database at once after the answer."""
    owner, bob = run.owner(), run.name("bob")
    message = owner.send(bob, "on the disk", metadata={"build": 7})["message"]
    file = run.main.daemon.inbox / bob / f"{message['id']}.json"
    body = json.loads(file.read_text())
    assert (body["id"], body["from"], body["session_id"]) == (message["id"], "tester", bob), body
    assert (body["content"], body["metadata"], body["type"]) == ("on the disk", {"build": 7}, "message"), body
    (queue,) = owner.call("GetQueueStats", {"sessionId": bob})["queues"]
    assert int(queue["pendingCount"]) == 1, queue
    seen = owner.call("GetMessage", {"id": message["id"]})
    assert seen["message"]["content"] == "on the disk", seen


@scenario("the same key is one message; another request under it is refused")
def idempotency(run: Run) -> None:
    """Repeats a send with its key, then changes it."""
    owner, bob, key = run.owner(), run.name("bob"), run.name("key")
    first = owner.send(bob, "once", idempotencyKey=key)["message"]["id"]
    again = owner.send(bob, "once", idempotencyKey=key)["message"]["id"]
    assert first == again
    request = {"recipient": bob, "sender": "tester", "content": "twice", "idempotencyKey": key}
    error = owner.refusal("SendMessage", request)
    assert (error["code"], error["reason"]) == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED"), error
    assert len(owner.call("CheckInbox", {"agent": bob})["messages"]) == 1


@scenario("a key keeps its message although the Struct's map comes in another order")
def shuffled_maps(run: Run) -> None:
    """Serializers may write a map in any order."""
    owner, bob, key = run.owner(), run.name("bob"), run.name("key")
    pairs = [(f"k{number}", number) for number in range(12)]
    ids = {
        owner.send(bob, "once", idempotencyKey=key, metadata=dict(pairs[at:] + pairs[:at]))["message"]["id"]
        for at in range(0, 12, 3)
    }
    assert len(ids) == 1, ids


@scenario("1,000 messages in bulk, one bad in the middle")
def bulk(run: Run) -> None:
    """Four batches of 250; only the bad message fails, and says which field is wrong."""
    owner, bob = run.owner(), run.name("bob")
    messages = [{"recipient": bob, "sender": "tester", "content": str(number)} for number in range(1000)]
    messages[500]["recipient"] = "not a name"
    responses = owner.bulk([{"messages": messages[at : at + 250]} for at in range(0, 1000, 250)])
    results = [result for response in responses for result in response["results"]]
    assert [number for number, result in enumerate(results) if "ok" not in result] == [500], results[500]
    error = results[500]["error"]
    assert error["code"] in (3, "INVALID_ARGUMENT"), error
    assert (error["reason"], error["field"]) == ("RECIPIENT_INVALID", "recipient"), error
    ids = [result["ok"]["message"]["id"] for result in results if "ok" in result]
    assert ids == sorted(set(ids))
    stored = owner.call("CheckInbox", {"agent": bob, "limit": 1000})["messages"]
    assert [one["content"] for one in stored] == [str(number) for number in range(1000) if number != 500]


@scenario("a broadcast has a result for each recipient")
def broadcast(run: Run) -> None:
    """One bad recipient among three."""
    owner, names = run.owner(), [run.name("a"), "no/name", run.name("c")]
    message = {"sender": "tester", "content": "all"}
    results = owner.call("BroadcastMessage", {"recipients": names, "message": message})["results"]
    assert ["ok" in result for result in results] == [True, False, True], results
    assert results[1]["error"]["reason"] == "RECIPIENT_INVALID", results
    for name in (names[0], names[2]):
        (found,) = owner.call("CheckInbox", {"agent": name})["messages"]
        assert found["content"] == "all"


@scenario("200 sends at a time: each has its own answer or error", SDK)
def pipelined(run: Run) -> None:
    """The sends share a stream; every seventh is refused. Nothing promises the order of sends that nobody awaited."""
    owner, bob = run.owner(), run.name("bob")
    calls: list[int] = []
    for number in range(200):
        recipient = "no/name" if number % 7 == 3 else bob
        calls.append(
            owner.begin_call("SendMessage", {"recipient": recipient, "sender": "tester", "content": str(number)})
        )
    stored: list[str] = []
    for number, call in enumerate(calls):
        if number % 7 == 3:
            error = owner.refused(call)
            assert (error["reason"], error["field"]) == ("RECIPIENT_INVALID", "recipient"), error
        else:
            message = owner.result(call)["message"]
            assert message["content"] == str(number), message
            stored.append(message["content"])
    inbox = owner.call("CheckInbox", {"agent": bob, "limit": 1000})["messages"]
    assert sorted(one["content"] for one in inbox) == sorted(stored)
