"""Limits — full mailboxes and disks, rates, streams: refused with a delay after which to try again."""

from conformance.adapter import Json
from conformance.scenario import LIBRARY, Run, scenario


def _refused_with_delay(error: Json, reason: str) -> None:
    assert (error["code"], error["reason"]) == ("RESOURCE_EXHAUSTED", reason), error
    assert 0 < error["retry_ms"] <= 600_000, error


@scenario("a full mailbox refuses with a delay, alone and in a batch")
def mailbox_full(run: Run) -> None:
    """The sixth message is one too many; reading makes room."""
    owner, bob = run.owner("tight"), run.name("bob")
    ids = [owner.send(bob, str(number))["message"]["id"] for number in range(5)]
    request = {"recipient": bob, "sender": "tester", "content": "one too many"}
    _refused_with_delay(owner.refusal("SendMessage", request, 2), "MAILBOX_FULL")
    if not run.is_sdk:
        (response,) = owner.bulk([{"messages": [request]}])
        error = response["results"][0]["error"]
        assert error["reason"] == "MAILBOX_FULL", error
        assert float(error["retryDelay"].removesuffix("s")) > 0, error
    owner.call("AcknowledgeMessages", {"agent": bob, "messageIds": ids[:1]})
    assert owner.send(bob, "now")["message"]["id"]


@scenario("two agents that answer each other without end are stopped")
def loop_guard(run: Run) -> None:
    """Alternating messages beyond the limit."""
    owner, names = run.owner("tight"), [run.name("ping"), run.name("pong")]
    for number in range(20):
        sender, recipient = names[number % 2], names[1 - number % 2]
        request = {"recipient": recipient, "sender": sender, "content": "again"}
        call = owner.begin_call("SendMessage", request, 1)
        if number < 8:
            message = owner.result(call, 1)["message"]
            owner.call("AcknowledgeMessages", {"agent": recipient, "messageIds": [message["id"]]})
            continue
        _refused_with_delay(owner.refused(call, 1), "LOOP_GUARD")
        return


@scenario("a client that sends too fast is refused with a delay")
def rate(run: Run) -> None:
    """Each 16 KiB count as a message: 1 MiB at once is beyond the burst of 20, so this never succeeds."""
    alice = run.name("alice")
    client = run.agent(alice, "tight")
    request = {"recipient": run.name("bob"), "sender": alice, "content": "x" * 400_000}
    for _ in range(3):
        call = client.begin_call("SendMessage", request, 0.6)
        try:
            error = client.refused(call, 0.6)
        except AssertionError:
            continue  # the burst
        _refused_with_delay(error, "RATE_LIMITED")
        return
    raise AssertionError("never refused")


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
    _refused_with_delay(owner.refusal("SendMessage", request, 1), "STORAGE_FULL")
    (message, *_) = owner.call("CheckInbox", {"agent": "reader", "limit": 1, "observe": True})["messages"]
    assert len(message["content"]) == 500_000
