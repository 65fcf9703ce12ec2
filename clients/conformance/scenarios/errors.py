"""Errors — every reason that a request alone can provoke, and how a client reads what is in an error.

`limits` and `access` provoke those that need a limit, a token or a worker that stands still. NOT_PROVOKED has the
others, each with why.
"""

__all__ = ["NOT_PROVOKED", "REFUSALS"]

from conformance.adapter import Json
from conformance.scenario import LIBRARY, Run, scenario

MIB = 1 << 20

NOT_PROVOKED = {"INTERNAL": "it would be a fault of the daemon"}


def _nested(levels: int) -> Json:
    nested: Json = {}
    for _ in range(levels - 1):
        nested = {"k": nested}
    return nested


def _send(**fields: object) -> Json:
    return {"recipient": "bob", "sender": "tester", "content": "x", **fields}


# Method, request, reason, field. Where a client checks a value itself, it must give the same reason and field.
REFUSALS: list[tuple[str, Json, str, str]] = [
    ("SendMessage", _send(recipient=""), "RECIPIENT_INVALID", "recipient"),
    ("SendMessage", _send(recipient="../etc"), "RECIPIENT_INVALID", "recipient"),
    ("SendMessage", _send(sender="größe"), "SENDER_INVALID", "sender"),
    ("SendMessage", _send(content="x" * (MIB + 1)), "CONTENT_TOO_LARGE", "content"),
    ("SendMessage", _send(content="é" * (MIB // 2) + "x"), "CONTENT_TOO_LARGE", "content"),
    ("SendMessage", _send(type="é" * 65), "TYPE_TOO_LONG", "type"),
    ("SendMessage", _send(threadId="t" * 129), "THREAD_ID_TOO_LONG", "thread_id"),
    ("SendMessage", _send(metadata={"k": "x" * 65_536}), "METADATA_TOO_LARGE", "metadata"),
    ("SendMessage", _send(metadata=_nested(33)), "METADATA_TOO_DEEP", "metadata"),
    ("SendMessage", _send(inReplyTo="yesterday"), "MESSAGE_ID_INVALID", "in_reply_to"),
    ("SendMessage", _send(ttl="0s"), "TTL_INVALID", "ttl"),
    ("SendMessage", _send(replyBy="1960-01-01T00:00:00Z"), "REPLY_BY_INVALID", "reply_by"),
    ("SendMessage", _send(idempotencyKey="k" * 129), "IDEMPOTENCY_KEY_INVALID", "idempotency_key"),
    ("CheckInbox", {"agent": ""}, "AGENT_INVALID", "agent"),
    ("CheckInbox", {"agent": "bob", "wait": "-1s"}, "WAIT_INVALID", "wait"),
    ("CheckInbox", {"agent": "bob", "limit": -1}, "LIMIT_INVALID", "limit"),
    ("SetAlias", {"agent": "bob", "session": "a b"}, "SESSION_INVALID", "session"),
    ("ListMessages", {"agent": "bob", "pageToken": "!"}, "PAGE_TOKEN_INVALID", "page_token"),
    ("ListMessages", {"query": "word " * 2000}, "QUERY_TOO_LONG", "query"),
    ("GetMessage", {"id": "1A"}, "MESSAGE_ID_INVALID", "id"),
    ("BroadcastMessage", {"recipients": ["a"] * 1001, "message": _send(recipient="")}, "TOO_MANY", "recipients"),
]


@scenario("each invalid request has the published reason and field")
def reasons(run: Run) -> None:
    """The code is INVALID_ARGUMENT, the domain mailroom; the sentence is for people."""
    owner = run.owner()
    wrong: list[str] = []
    for method, request, reason, field in REFUSALS:
        error = owner.refusal(method, request)
        found = (error["code"], error["reason"], error.get("field"))
        if found != ("INVALID_ARGUMENT", reason, field) or len(error["message"]) < 10:
            wrong.append(f"{reason}: {str(error)[:200]}")
        if not run.is_sdk and error["domain"] != "mailroom":
            wrong.append(f"{reason}: the domain is {error['domain']!r}")
    assert not wrong, wrong


@scenario("an invalid stream request ends the stream with its reason")
def stream_reasons(run: Run) -> None:
    """A place of no event, and two fields that exclude each other."""
    owner, bob = run.owner(), run.name("bob")
    requests: list[tuple[Json, str]] = [
        ({"agent": bob, "afterId": "yesterday"}, "AFTER_ID_INVALID"),
        ({"agent": bob, "afterId": "0" * 16, "includeUnread": True}, "OPTIONS_CONFLICT"),
        ({"agent": "no/name"}, "AGENT_INVALID"),
    ]
    for request, reason in requests:
        end = owner.stream(request).expect_end()
        assert (end["code"], end["reason"]) == ("INVALID_ARGUMENT", reason), end


@scenario("a priority that does not exist is refused", LIBRARY)
def priority(run: Run) -> None:
    """An open enum carries any number; an SDK has names only."""
    error = run.owner().refusal("SendMessage", _send(priority=77))
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "PRIORITY_INVALID"), error


@scenario("bytes that are no message are refused")
def malformed(run: Run) -> None:
    """Where the library sends bytes of the program's own."""
    error = run.owner().refusal("SendMessage", raw="/////w==")
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "REQUEST_MALFORMED"), error


@scenario("what does not exist, and what is in conflict, has a code of its own")
def not_found(run: Run) -> None:
    """NOT_FOUND and FAILED_PRECONDITION."""
    owner, bob, session = run.owner(), run.name("bob"), run.name("session")
    error = owner.refusal("GetMessage", {"id": "00000000000000ff"})
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "MESSAGE_NOT_FOUND"), error
    owner.call("SetAlias", {"agent": bob, "session": session})
    error = owner.refusal("SetAlias", {"agent": session, "session": run.name("other")})
    assert (error["code"], error["reason"]) == ("FAILED_PRECONDITION", "ALIAS_CONFLICT"), error


@scenario("a deadline ends a call")
def deadline(run: Run) -> None:
    """A server that accepts connections and never answers."""
    with run.silent_server() as target:
        error = run.open(target).refusal("CheckInbox", {"agent": "bob"}, 1)
        # An SDK may know better: nothing that answers there is a daemon. A library may call its own timeout CANCELLED.
        assert error["code"] in ("DEADLINE_EXCEEDED", "UNAVAILABLE" if run.is_sdk else "CANCELLED"), error
        assert not error["reason"] or run.is_sdk, error


@scenario("a deadline ends a stream", LIBRARY)
def stream_deadline(run: Run) -> None:
    """An idle stream with a timeout of one second."""
    stream = run.owner().stream({"agent": run.name("bob")}, timeout_sec=1)
    stream.until_caught_up()
    end = stream.expect_end(10)
    assert end["code"] == "DEADLINE_EXCEEDED", end
