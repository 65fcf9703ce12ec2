"""Inbox — waiting, acknowledging, history, pages."""

import time

from conformance.daemons import SESSIONS
from conformance.scenario import Run, as_int, scenario


@scenario("a wait returns when a message arrives, and empty when its time is over")
def wait(run: Run) -> None:
    """Neither is an error."""
    owner, bob = run.owner(), run.name("bob")
    call = owner.begin_call("CheckInbox", {"agent": bob, "wait": "20s"}, 30)
    time.sleep(0.3)
    started = time.monotonic()
    owner.send(bob, "wake up")
    (found,) = owner.result(call, 30)["messages"]
    assert found["content"] == "wake up"
    assert time.monotonic() - started < 10
    nothing = owner.call("CheckInbox", {"agent": run.name("nobody"), "wait": "0.3s"}, 20)
    assert not nothing.get("messages"), nothing


@scenario("a wait ends with the call's deadline, OK and empty")
def wait_until_deadline(run: Run) -> None:
    """The deadline travels to the daemon, which answers shortly before it. An SDK adds the wait to its timeout."""
    started = time.monotonic()
    wait_sec, timeout_sec = ("1s", 20) if run.is_sdk else ("30s", 2)
    inbox = run.owner().call("CheckInbox", {"agent": run.name("nobody"), "wait": wait_sec}, timeout_sec)
    assert not inbox.get("messages")
    assert 0.5 < time.monotonic() - started < 8


@scenario("acknowledged mail is read, and its file is gone")
def acknowledge(run: Run) -> None:
    """Unknown ids are named; repeating it is harmless."""
    owner, bob = run.owner(), run.name("bob")
    first, second = (owner.send(bob, str(number))["message"]["id"] for number in range(2))
    for _ in range(2):
        done = owner.call("AcknowledgeMessages", {"agent": bob, "messageIds": [first, "00000000000000ff"]})
        assert done["acknowledgedIds"] == [first], done
        assert done["unknownIds"] == ["00000000000000ff"], done
    files = sorted(one.name for one in (run.main.daemon.inbox / bob).glob("*.json"))
    assert files == [f"{second}.json"], files
    (left,) = owner.call("CheckInbox", {"agent": bob})["messages"]
    assert left["id"] == second
    seen = owner.call("GetMessage", {"id": first})
    assert seen["message"]["read"] is True, seen
    assert [one["state"] for one in seen["history"]][-1] == "DELIVERY_STATE_READ", seen


@scenario("a file that its agent takes away marks the message read")
def taken_file(run: Run) -> None:
    """As an agent does that knows files only."""
    owner, bob = run.owner(), run.name("bob")
    message = owner.send(bob, "a file")["message"]["id"]
    (run.main.daemon.inbox / bob / f"{message}.json").unlink()
    deadline = time.monotonic() + 15
    while owner.call("CheckInbox", {"agent": bob, "observe": True}).get("messages"):
        assert time.monotonic() < deadline, "still unread"
        time.sleep(0.05)
    assert owner.call("GetMessage", {"id": message})["message"]["read"] is True


@scenario("marked offered, listed, cleared")
def other_calls(run: Run) -> None:
    """The other calls of the service."""
    owner, bob = run.owner(), run.name("bob")
    ids = [owner.send(bob, f"number {number}")["message"]["id"] for number in range(3)]
    owner.call("MarkOffered", {"agent": bob, "messageIds": ids[:1]})
    fresh = owner.call("CheckInbox", {"agent": bob, "unofferedOnly": True, "observe": True})["messages"]
    assert [one["id"] for one in fresh] == ids[1:], fresh
    newest = owner.call("CheckInbox", {"agent": bob, "newestFirst": True, "limit": 1, "observe": True})
    assert newest["messages"][0]["id"] == ids[2], newest
    assert newest["more"] is True
    (found,) = owner.call("ListMessages", {"agent": bob, "query": '"number 1"'})["messages"]
    assert found["id"] == ids[1], found
    (box,) = owner.call("GetMailboxStats", {"agent": bob})["mailboxes"]
    assert (as_int(box["total"]), as_int(box["unread"])) == (3, 3), box
    assert as_int(owner.call("ClearMailbox", {"agent": bob})["deleted"]) == 3
    assert not owner.call("ListMessages", {"agent": bob}).get("messages")


@scenario("pages, newest first, without gap or repeat")
def pages(run: Run) -> None:
    """25 messages in pages of seven."""
    owner, bob = run.owner(), run.name("bob")
    ids = [owner.send(bob, str(number))["message"]["id"] for number in range(25)]
    found: list[str] = []
    sizes: list[int] = []
    token = ""
    while True:
        page = owner.call("ListMessages", {"agent": bob, "pageSize": 7, "pageToken": token})
        found += [one["id"] for one in page["messages"]]
        sizes.append(len(page["messages"]))
        if not (token := page.get("nextPageToken", "")):
            break
    assert found == ids[::-1]
    assert sizes == [7, 7, 7, 4], sizes


@scenario(f"the counts of {SESSIONS:,} sessions with long names", is_long=True)
def crowd(run: Run) -> None:
    """More than gRPC takes in one response: they come in pages."""
    owner = run.owner("crowded")
    for method, list_name, key in (
        ("GetQueueStats", "queues", "sessionId"),
        ("GetMailboxStats", "mailboxes", "agentId"),
    ):
        names: list[str] = []
        token = ""
        while True:
            page = owner.call(method, {"pageToken": token} if token else {}, 60)
            names += [one[key] for one in page[list_name] if one[key].startswith("sss")]
            if not (token := page.get("nextPageToken", "")):
                break
        assert len(names) == len(set(names)) == SESSIONS, (method, len(names))
