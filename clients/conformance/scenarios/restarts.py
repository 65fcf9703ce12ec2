"""Restarts — the daemon is stopped or killed while clients use it: no gap, no repeat, nothing sent twice."""

import itertools
import time
from collections.abc import Callable, Sequence

from conformance.adapter import Connection, Json, Refused, Stream
from conformance.scenario import BROKEN, LIBRARY, SDK, Run, message_of, scenario

PATIENCE_SEC = 120.0


@scenario("a stream resumes after SIGTERM without gap or repeat")
def terminated(run: Run) -> None:
    """GoingAway and OK end the stream; the next one starts at the last place."""
    _resume(run, kill=False)


@scenario("a stream resumes after SIGKILL without gap or repeat")
def killed(run: Run) -> None:
    """The stream breaks; the next one starts at the last place."""
    _resume(run, kill=True)


def _resume(run: Run, *, kill: bool) -> None:
    guarded = run.daemons["restarted"]
    with guarded.lock:
        owner, bob = run.owner("restarted"), run.name("bob")
        stream = owner.live(bob)
        sent = [owner.send(bob, str(number))["message"]["id"] for number in range(5)]
        found = [message_of(stream.expect())["id"] for _ in range(3)]
        with guarded.restarting(kill=kill):
            sent += [_send_again(owner, bob, str(number)) for number in range(5, 10)]
            if not run.is_sdk:
                found += _until_end(stream, BROKEN if kill else ("OK",))
                stream = _resubscribe(owner, bob, stream)
        sent.append(_send_again(owner, bob, "10"))  # the others may all have come before the daemon heard of its end
        if run.is_sdk:
            found += [_next_message(stream) for _ in range(len(sent) - len(found))]
        else:
            more, stream = _resumed(owner, bob, stream, len(sent) - len(found))
            found += more
        assert found == sent, (found, sent)
        stream.assert_silent(0.3)
        stream.cancel()


def _next_message(stream: Stream) -> str:
    while "message" not in (event := stream.expect(PATIENCE_SEC)):
        assert "caughtUp" in event, event
    return message_of(event)["id"]


def _until_end(stream: Stream, codes: Sequence[str]) -> list[str]:
    """Returns the ids of the messages before the stream ends with one of these codes."""
    found: list[str] = []
    while (event := stream.next(PATIENCE_SEC)) is not None:
        if "message" in event:
            found.append(message_of(event)["id"])
    assert stream.end is not None
    assert stream.end["code"] in codes, stream.end
    return found


def _resubscribe(owner: Connection, agent: str, ended: Stream) -> Stream:
    """Subscribes at the place of a stream that has ended: rule 4."""
    time.sleep(0.1)
    stream = owner.stream({"agent": agent, "afterId": ended.place})
    stream.place = ended.place
    return stream


def _resumed(owner: Connection, agent: str, stream: Stream, count: int) -> tuple[list[str], Stream]:
    """Reads messages, over as many streams as it takes; returns their ids, and the last stream."""
    found: list[str] = []
    deadline = time.monotonic() + PATIENCE_SEC
    while len(found) < count:
        event = stream.next(PATIENCE_SEC)
        if event is None:
            assert stream.end is not None
            assert stream.end["code"] in ("OK", *BROKEN), stream.end
            assert time.monotonic() < deadline, f"the streams end: {stream.end}"
            stream = _resubscribe(owner, agent, stream)
        elif "message" in event:
            found.append(message_of(event)["id"])
    return found, stream


def _send_again(owner: Connection, recipient: str, content: str) -> str:
    """Sends with one key until it is answered: rule 2. An SDK does it by itself."""
    request = {
        "recipient": recipient,
        "sender": "tester",
        "content": content,
        "idempotencyKey": f"{recipient}-{content}",
    }
    return _again(lambda: owner.call("SendMessage", request, PATIENCE_SEC))["message"]["id"]


def _again(call: Callable[[], Json]) -> Json:
    deadline = time.monotonic() + PATIENCE_SEC
    for delay_sec in itertools.chain((0.05, 0.1, 0.2), itertools.repeat(0.3)):
        try:
            return call()
        except Refused as refused:
            if refused.code not in BROKEN or time.monotonic() > deadline:
                raise
            time.sleep(delay_sec)
    raise AssertionError


@scenario("a key holds over a restart")
def key_over_restart(run: Run) -> None:
    """The repeated send has the first one's id."""
    guarded = run.daemons["restarted"]
    with guarded.lock:
        owner, bob = run.owner("restarted"), run.name("bob")
        first = _send_again(owner, bob, "once")
        guarded.restart(kill=True)
        assert _send_again(owner, bob, "once") == first
        assert _contents(owner, bob) == ["once"]


def _may_break(call: Callable[[], object]) -> None:
    """Makes a call that may succeed or meet a broken connection; any other error is raised."""
    try:
        call()
    except Refused as refused:
        if refused.code not in BROKEN:
            raise


def _contents(owner: Connection, agent: str) -> list[str]:
    inbox = _again(lambda: owner.call("CheckInbox", {"agent": agent, "limit": 1000}, PATIENCE_SEC))
    return [one["content"] for one in inbox.get("messages", [])]


@scenario("a bulk send over a restart doubles nothing", LIBRARY)
def bulk_over_restart(run: Run) -> None:
    """The stream breaks; it is sent again with the same keys."""
    guarded = run.daemons["restarted"]
    with guarded.lock:
        owner, bob = run.owner("restarted"), run.name("bob")
        _contents(owner, bob)  # connected
        requests = _requests(bob)
        first = owner.begin_bulk(requests, PATIENCE_SEC)
        guarded.restart(kill=True)
        _may_break(lambda: owner.bulk_result(first, PATIENCE_SEC))
        responses = _again(lambda: {"all": owner.bulk(requests, PATIENCE_SEC)})["all"]
        _check_bulk(owner, bob, responses)


@scenario("a bulk send survives a restart, and doubles nothing", SDK)
def send_many_over_restart(run: Run) -> None:
    """The SDK resumes the stream by itself."""
    guarded = run.daemons["restarted"]
    with guarded.lock:
        owner, bob = run.owner("restarted"), run.name("bob")
        _contents(owner, bob)
        first = owner.begin_bulk(_requests(bob), PATIENCE_SEC)
        guarded.restart(kill=True)
        _check_bulk(owner, bob, owner.bulk_result(first, PATIENCE_SEC))


def _requests(agent: str) -> list[Json]:
    messages = [
        {"recipient": agent, "sender": "tester", "content": str(number), "idempotencyKey": f"{agent}-{number}"}
        for number in range(1000)
    ]
    return [{"messages": messages[at : at + 50]} for at in range(0, 1000, 50)]


def _check_bulk(owner: Connection, agent: str, responses: list[Json]) -> None:
    results = [result for response in responses for result in response["results"]]
    bad = [result for result in results if "ok" not in result]
    assert not bad, bad[0]
    assert len({result["ok"]["message"]["id"] for result in results}) == 1000
    assert sorted(_contents(owner, agent), key=int) == [str(number) for number in range(1000)]


@scenario("a client whose daemon is away says so, and uses it when it is back")
def unavailable(run: Run) -> None:
    """The call fails in time with UNAVAILABLE; the same connection works afterwards."""
    guarded = run.daemons["restarted"]
    with guarded.lock:
        owner, bob = run.owner("restarted"), run.name("bob")
        _contents(owner, bob)
        with guarded.away():
            started = time.monotonic()
            error = owner.refusal("SendMessage", {"recipient": bob, "sender": "tester", "content": "x"}, 4)
            took_sec = time.monotonic() - started
        assert error["code"] in ("UNAVAILABLE", "INTERNAL"), error
        assert took_sec < 10, f"after {took_sec:.1f} s"
        assert _send_again(owner, bob, "back")


@scenario("no daemon at all is an error in time, not a wait")
def nowhere(run: Run) -> None:
    """A socket that does not exist."""
    client = run.open(f"unix://{run.daemons.directory}/nobody.sock")
    error = client.refusal("CheckInbox", {"agent": "bob"}, 5)
    assert error["code"] in ("UNAVAILABLE", "INTERNAL"), error
