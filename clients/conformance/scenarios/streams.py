"""Streams — live, replayed, in batches, with receipts and responses, under an alias, from a newer daemon."""

import json
import time

from conformance.newer_daemon import NewerDaemon
from conformance.scenario import LIBRARY, Run, as_int, message_of, scenario

BEGINNING = "0" * 16


@scenario("a live stream has each message once, in order")
def live(run: Run) -> None:
    """Messages arrive one by one, and nothing else does."""
    owner, bob = run.owner(), run.name("bob")
    stream = owner.live(bob)
    sent = [owner.send(bob, str(number))["message"]["id"] for number in range(20)]
    for message_id in sent:
        event = stream.expect()
        assert (message_of(event)["id"], event["eventId"]) == (message_id, message_id), event
    owner.send(run.name("carol"), "not for bob")
    stream.assert_silent(0.3)
    stream.cancel()


@scenario("a replay from the beginning, from a place, and of unread mail")
def replayed(run: Run) -> None:
    """Each replay ends with CaughtUp, and goes on live."""
    owner, bob = run.owner(), run.name("bob")
    ids = [owner.send(bob, str(number))["message"]["id"] for number in range(6)]
    owner.call("AcknowledgeMessages", {"agent": bob, "messageIds": ids[:2]})
    for request, first in (({"afterId": BEGINNING}, 0), ({"afterId": ids[3]}, 4), ({"includeUnread": True}, 2)):
        stream = owner.stream({"agent": bob, **request})
        events = stream.until_caught_up()
        assert [message_of(event)["id"] for event in events] == ids[first:], request
        ids.append(owner.send(bob, "live")["message"]["id"])
        assert message_of(stream.expect())["id"] == ids[-1], request
        stream.cancel()


@scenario("events that are ready arrive in one response", LIBRARY)
def batches(run: Run) -> None:
    """With max_batch, `events` has several; each has its own place."""
    owner, bob = run.owner(), run.name("bob")
    ids = [owner.send(bob, str(number))["message"]["id"] for number in range(30)]
    stream = owner.stream({"agent": bob, "afterId": BEGINNING, "maxBatch": 100})
    found: list[str] = []
    largest = 0
    while len(found) < len(ids):
        response = stream.expect()
        events = response.get("events") or [response]
        largest = max(largest, len(events))
        found += [event["eventId"] for event in events if "message" in event]
    assert found == ids
    assert largest > 1
    stream.cancel()


@scenario("receipts tell the sender of each step")
def receipts(run: Run) -> None:
    """A message is filed, offered and read, in this order."""
    owner, alice, bob = run.owner(), run.name("alice"), run.name("bob")
    stream = owner.live(alice, includeReceipts=True)
    message = owner.send(bob, "hi", sender=alice)["message"]["id"]
    owner.call("CheckInbox", {"agent": bob})
    owner.call("AcknowledgeMessages", {"agent": bob, "messageIds": [message]})
    states: list[str] = []
    while "READ" not in states:
        receipt = stream.expect()["receipt"]
        assert (receipt["messageId"], receipt["recipient"]) == (message, bob), receipt
        states.append(receipt["state"].removeprefix("DELIVERY_STATE_"))
    assert states in (["FILED", "OFFERED", "READ"], ["STORED", "FILED", "OFFERED", "READ"]), states
    stream.cancel()


@scenario("a file in an outbox arrives as a response")
def responses(run: Run) -> None:
    """Renamed into place, as docs/files.md says; the file is gone afterwards."""
    owner, bob = run.owner(), run.name("bob")
    stream = owner.live(bob)
    outbox = run.main.daemon.root / "outbox" / bob
    outbox.mkdir(parents=True)
    body = {"answer": 42, "nested": {"list": [1, None, "ü"]}}
    (outbox / ".answer").write_text(json.dumps(body))
    (outbox / ".answer").rename(outbox / "answer.json")
    response = stream.expect()["commandResponse"]
    assert (response["sessionId"], response["fileName"]) == (bob, "answer.json"), response
    assert response["body"] == body, response
    deadline = time.monotonic() + 10
    while (outbox / "answer.json").exists():
        assert time.monotonic() < deadline, "the file is still there"
        time.sleep(0.02)
    stream.cancel()


@scenario("an alias leads a session's mail to its agent, until it ends")
def aliases(run: Run) -> None:
    """Both names read both mailboxes; afterwards the session's mail is its own."""
    owner, bob, session = run.owner(), run.name("bob"), run.name("session")
    earlier = owner.send(session, "earlier")["message"]["id"]
    assert owner.call("SetAlias", {"agent": bob, "session": session, "ttl": "60s"}).get("expiresAt")
    stream = owner.live(bob)
    later = owner.send(session, "later")["message"]
    assert later["recipient"] == bob, later
    assert message_of(stream.expect())["id"] == later["id"]
    for name in (bob, session):
        found = {one["id"] for one in owner.call("CheckInbox", {"agent": name})["messages"]}
        assert found == {earlier, later["id"]}, (name, found)
    (agent,) = [one for one in owner.call("ListAgents")["agents"] if one["name"] == bob]
    assert agent["sessions"] == [session], agent
    assert not owner.call("SetAlias", {"agent": bob, "session": session, "ttl": "0s"}).get("expiresAt")
    assert owner.send(session, "after")["message"]["recipient"] == session
    stream.cancel()


@scenario("an event of an unknown kind is passed over, and its place is kept")
def unknown_events(run: Run) -> None:
    """A stand-in for a daemon of a later version; the next stream must start behind the unknown event."""
    with NewerDaemon(run.daemons.directory) as newer:
        stream = run.open(newer.target).stream({"agent": "bob", "afterId": BEGINNING})
        if run.is_sdk:
            assert message_of(stream.expect())["content"] == "before"
            assert message_of(stream.expect())["content"] == "after"
            assert newer.requests[1].after_id == newer.UNKNOWN_ID, newer.requests[1]
            stream.cancel()
            return
        first, unknown = stream.expect(), stream.expect()
        assert message_of(first)["content"] == "before"
        assert list(unknown) == ["eventId"], unknown
        assert unknown["eventId"] == newer.UNKNOWN_ID
        assert stream.expect_end()["code"] == "OK"


@scenario("an enum value and a field of a later version do no harm")
def unknown_values(run: Run) -> None:
    """A message with priority 9, state 99 and a field 500."""
    with NewerDaemon(run.daemons.directory) as newer:
        stream = run.open(newer.target).stream({"agent": "bob", "afterId": newer.UNKNOWN_ID})
        message = message_of(stream.expect())
        assert message["content"] == "after", message
        stream.cancel()


@scenario("a cancelled stream ends at once, on both sides")
def cancellation(run: Run) -> None:
    """The daemon counts one subscriber less; a call that waits is cancelled, too."""
    owner, bob = run.owner(), run.name("bob")
    stream = owner.live(bob)
    wait = owner.begin_call("CheckInbox", {"agent": run.name("carol"), "wait": "20s"}, 30)
    stream.cancel()
    owner.cancel(wait)
    assert stream.expect_end(5.0)["code"] in ("CANCELLED", "OK"), stream.end
    assert owner.refused(wait, 1)["code"] == "CANCELLED"
    deadline = time.monotonic() + 10
    while True:
        boxes = owner.call("GetMailboxStats", {"agent": bob}).get("mailboxes", [])
        if not any(as_int(box.get("subscribers")) for box in boxes):
            return
        assert time.monotonic() < deadline, boxes
        time.sleep(0.05)
