"""Limits — full mailboxes and disks, rates, streams, waiting calls: refused with a delay after which to try again."""

import contextlib
import time
from collections.abc import Callable

from conformance.adapter import Connection, Json
from conformance.scenario import BROKEN, LIBRARY, Run, scenario

MIB = 1 << 20
MAX_WAITING = 10_000  # calls of all clients that wait in the daemon


def _refused_with_delay(error: Json, reason: str) -> None:
    assert (error["code"], error["reason"]) == ("RESOURCE_EXHAUSTED", reason), error
    assert 0 < error["retry_ms"] <= 600_000, error


@scenario("a full mailbox refuses with a delay, alone and in a batch")
def mailbox_full(run: Run) -> None:
    """The sixth message is one too many; reading makes room. The delay is longer than an SDK may take here."""
    owner, bob = run.owner("tight"), run.name("bob")
    ids = [owner.send(bob, str(number))["message"]["id"] for number in range(5)]
    request = {"recipient": bob, "sender": "tester", "content": "one too many"}
    _refused_with_delay(owner.refusal("SendMessage", request), "MAILBOX_FULL")
    if not run.is_sdk:
        (response,) = owner.bulk([{"messages": [request]}])
        error = response["results"][0]["error"]
        assert error["reason"] == "MAILBOX_FULL", error
        assert float(error["retryDelay"].removesuffix("s")) > 0, error
    owner.call("AcknowledgeMessages", {"agent": bob, "messageIds": ids[:1]})
    assert owner.send(bob, "now")["message"]["id"]


@scenario("two agents that answer each other without end are stopped")
def loop_guard(run: Run) -> None:
    """Alternating messages beyond the limit of eight a minute. The delay is longer than an SDK may take here."""
    owner, names = run.owner("tight"), [run.name("ping"), run.name("pong")]
    for number in range(8):
        sender, recipient = names[number % 2], names[1 - number % 2]
        message = owner.send(recipient, "again", sender=sender)["message"]
        owner.call("AcknowledgeMessages", {"agent": recipient, "messageIds": [message["id"]]})
    request = {"recipient": names[1], "sender": names[0], "content": "again"}
    _refused_with_delay(owner.refusal("SendMessage", request, 10), "LOOP_GUARD")


@scenario("a client that sends too fast is refused with a delay")
def rate(run: Run) -> None:
    """Each 16 KiB count as a message, so 1 MB leaves a debt of ten seconds: longer than an SDK may take here."""
    alice = run.name("alice")
    client = run.agent(alice, "tight")
    request = {"recipient": run.name("bob"), "sender": alice, "content": "x" * 1_000_000}
    for _ in range(3):  # the first one passes, and on a slow machine perhaps another
        with contextlib.suppress(AssertionError):
            error = client.refusal("SendMessage", request, 8)
            break
    else:
        raise AssertionError("never refused")
    _refused_with_delay(error, "RATE_LIMITED")


@scenario("a client with too many streams is refused with a delay", LIBRARY)
def streams(run: Run) -> None:
    """Two are allowed here. An SDK would wait and try again."""
    alice = run.name("alice")
    client = run.agent(alice, "tight")
    opened = [client.live(alice) for _ in range(2)]
    _refused_with_delay(client.stream({"agent": alice}).expect_end(), "TOO_MANY_STREAMS")
    opened[0].cancel()
    opened[0].expect_end()
    opened[1].cancel()


@scenario("a full disk refuses sends with a delay; reading and acknowledging go on")
def storage_full(run: Run) -> None:
    """A daemon at its limit."""
    owner = run.owner("full")
    request = {"recipient": run.name("bob"), "sender": "tester", "content": "x"}
    _refused_with_delay(owner.refusal("SendMessage", request, 3 if run.is_sdk else 20), "STORAGE_FULL")
    (message, *_) = owner.call("CheckInbox", {"agent": "reader", "limit": 1, "observe": True})["messages"]
    assert len(message["content"]) == 500_000


@scenario("what waits for another host is bounded, with a delay")
def host_backlog(run: Run) -> None:
    """The host is not reached, and as much waits for it as may."""
    owner = run.owner("joined")
    request = {"recipient": run.name("bob") + ":elsewhere", "sender": "tester", "content": "x" * 700_000}
    error = owner.refusal("SendMessage", request, 3 if run.is_sdk else 20)
    _refused_with_delay(error, "HOST_BACKLOG_FULL")
    request["content"] = "small enough"
    assert owner.call("SendMessage", request)["message"]["id"]


@scenario("too many bytes in flight are refused with a delay", LIBRARY)
def bytes_in_flight(run: Run) -> None:
    """The mailbox worker stands still, so a large request stays in flight; a second one is beyond 1 MiB."""
    alice = run.name("alice")
    client = run.agent(alice, "stalled")
    request = {"recipient": run.name("bob"), "sender": alice, "content": "x" * (MIB * 2 // 3)}

    def occupy() -> list[int]:
        return [client.begin_call("SendMessage", request, 60)]

    with run.daemons["stalled"].stalled():
        error = _refused_at_last(client, request, "TOO_MANY_BYTES", occupy)
    _refused_with_delay(error, "TOO_MANY_BYTES")


@scenario("too many calls that wait are refused with a delay", LIBRARY)
def waiting(run: Run) -> None:
    """The mailbox worker stands still, and 10,000 messages wait."""
    owner = run.owner("stalled")
    request = {"recipient": run.name("bob"), "sender": "tester", "content": "x"}
    batch = {"messages": [request] * 1000}

    def occupy() -> list[int]:  # the single one takes a place that an earlier try may have left
        return [owner.begin_bulk([batch], 60), owner.begin_call("SendMessage", request, 60)]

    with run.daemons["stalled"].stalled():
        calls = [owner.begin_bulk([batch], 60) for _ in range(MAX_WAITING // 1000 - 1)]
        error = _refused_at_last(owner, request, "TOO_MANY_WAITING", occupy)
        for call in calls:
            owner.cancel(call)
    _refused_with_delay(error, "TOO_MANY_WAITING")


def _refused_at_last(client: Connection, request: Json, reason: str, occupy: Callable[[], list[int]]) -> Json:
    """Occupies the daemon until a send is refused for this reason, instead of not being answered in time."""
    calls: list[int] = []
    deadline = time.monotonic() + 60
    while True:
        calls += occupy()
        error = client.refusal("SendMessage", request, 1)
        if error["reason"] == reason:
            break
        assert error["code"] in (*BROKEN, "DEADLINE_EXCEEDED"), error
        assert time.monotonic() < deadline, error
    for call in calls:
        client.cancel(call)
    return error


@scenario("a call that gets no answer in time is told so before its deadline", LIBRARY)
def no_answer(run: Run) -> None:
    """The mailbox worker stands still."""
    owner = run.owner("stalled")
    with run.daemons["stalled"].stalled():
        error = owner.refusal("SendMessage", {"recipient": run.name("bob"), "sender": "tester", "content": "x"}, 5)
    assert (error["code"], error["reason"]) == ("UNAVAILABLE", "WORKER_RESTARTING"), error
    assert error["retry_ms"] > 0, error


@scenario("a call that waits while the daemon stops is told so", LIBRARY)
def stopping(run: Run) -> None:
    """The mailbox worker stands still, so the daemon cannot finish the call before it stops."""
    guarded, owner = run.daemons["stalled"], run.owner("stalled")
    request = {"recipient": run.name("bob"), "sender": "tester", "content": "x"}
    owner.call("SendMessage", request)  # connected
    with guarded.stalled() as resume:
        call = owner.begin_call("SendMessage", request, 60)
        guarded.wait_until_call_waits()
        with guarded.restarting(kill=False):
            error = owner.refused(call, 60)
            resume()
    assert (error["code"], error["reason"]) == ("UNAVAILABLE", "STOPPING"), error


@scenario("too many aliases are refused, without a delay", is_long=True)
def too_many_aliases(run: Run) -> None:
    """A daemon that has 10,000 already. Nobody knows when one ends, so an SDK does not try again."""
    request = {"agent": run.name("bob"), "session": run.name("session")}
    error = run.owner("crowded").refusal("SetAlias", request)
    assert (error["code"], error["reason"]) == ("RESOURCE_EXHAUSTED", "TOO_MANY_ALIASES"), error
    assert not error.get("retry_ms"), error
