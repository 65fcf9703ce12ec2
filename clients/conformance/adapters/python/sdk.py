"""The adapter for the Python SDK, `AsyncMailroom`."""

import asyncio
import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from importlib.metadata import version
from typing import Any, cast

from lines import Json, Write, serve
from mailroom import AsyncMailroom, CaughtUp, CommandResponse, Draft, MailroomError, Message, Receipt
from mailroom.records import iso_utc

rooms: dict[str, AsyncMailroom] = {}
ACCESS = {"token": "token", "ca": "tls_ca", "cert": "tls_cert", "key": "tls_key"}
SEND = {"sender", "type", "metadata", "threadId", "inReplyTo", "priority", "ttl", "replyBy", "idempotencyKey"}


def seconds(duration: str | None) -> float | None:
    return None if duration is None else float(duration.removesuffix("s"))


def snake(key: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in key)


def send_options(request: Json) -> Json:
    options = {snake(key): value for key, value in request.items() if key in SEND}
    if "priority" in options:
        options["priority"] = str(options["priority"]).removeprefix("PRIORITY_").lower()
    if "ttl" in options:
        options["ttl"] = seconds(options["ttl"])
    if "reply_by" in options:
        options["reply_by"] = datetime.fromisoformat(options["reply_by"])
    return options


def proto(value: Any) -> Any:
    """The SDK's values as proto3 JSON has them: camelCase, absent instead of empty, long names of enums."""
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, tuple | list):
        return [proto(one) for one in cast("list[Any]", value)]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    found = {name: getattr(value, name) for name in value.__dataclass_fields__}
    result = {"".join([(p := n.split("_"))[0], *map(str.title, p[1:])]): proto(v) for n, v in found.items() if v}
    for key, prefix in (("state", "DELIVERY_STATE_"), ("priority", "PRIORITY_")):
        if key in result:
            result[key] = prefix + str(result[key]).upper()
    if "metadata" in found:
        result["metadata"] = found["metadata"]
    return result


def event_of(event: Any) -> Json:
    for kind, name in ((Message, "message"), (Receipt, "receipt"), (CommandResponse, "commandResponse")):
        if isinstance(event, kind):
            return {name: proto(event), "eventId": event.event_id}
    assert isinstance(event, CaughtUp)
    return {"caughtUp": proto(event), "eventId": event.event_id}


def error_of(error: MailroomError) -> Json:
    retry = {} if error.retry_after_sec is None else {"retry_ms": int(error.retry_after_sec * 1000)}
    return {"code": error.code, "message": error.message, "reason": error.reason, "field": error.field or "", **retry}


def outcome_of(outcome: Any) -> Json:
    if outcome.sent:
        return {"ok": proto(outcome.sent)}
    return {"error": {**error_of(outcome.error), "code": outcome.error.code}}


async def page(items: AsyncIterator[Any]) -> list[Any]:
    return [proto(item) async for item in items]


Call = Callable[[AsyncMailroom, Json, float], Awaitable[Any]]


async def none(room: AsyncMailroom, q: Json, t: float) -> Json:
    await room.mark_offered(q["agent"], q.get("messageIds", []), timeout=t)
    return {}


CALLS: dict[str, Call] = {
    "SendMessage": lambda room, q, t: room.send(
        q.get("recipient", ""), q.get("content", ""), timeout=t, **send_options(q)
    ),
    "CheckInbox": lambda room, q, t: room.check_inbox(
        q.get("agent", ""),
        limit=q.get("limit"),
        wait=seconds(q.get("wait")),
        observe=q.get("observe", False),
        unoffered_only=q.get("unofferedOnly", False),
        newest_first=q.get("newestFirst", False),
        timeout=t,
    ),
    "AcknowledgeMessages": lambda room, q, t: room.acknowledge(q.get("agent", ""), q.get("messageIds", []), timeout=t),
    "MarkOffered": none,
    "GetMessage": lambda room, q, t: room.get_message(q.get("id", ""), timeout=t),
    "ListMessages": lambda room, q, t: room.list_messages(timeout=t, **{snake(key): value for key, value in q.items()}),
    "SetAlias": lambda room, q, t: room.set_alias(
        q.get("agent", ""), q.get("session", ""), ttl=seconds(q.get("ttl")), timeout=t
    ),
    "ClearMailbox": lambda room, q, t: room.clear(q.get("agent", ""), timeout=t),
    "BroadcastMessage": lambda room, q, t: room.broadcast(
        q.get("recipients", []), q["message"].get("content", ""), timeout=t, **send_options(q["message"])
    ),
    "GetMailboxStats": lambda room, q, t: room.stats(q.get("agent"), timeout=t),
    "GetQueueStats": lambda room, q, t: room.queue_stats(q.get("sessionId"), timeout=t),
    "ListAgents": lambda room, q, t: room.agents(alive_only=q.get("aliveOnly", False), timeout=t),
    "GetStatus": lambda room, _, t: room.status(timeout=t),
}
WRAP = {"GetMailboxStats": "mailboxes", "GetQueueStats": "queues", "ListAgents": "agents", "SetAlias": "expiresAt"}


async def unary(room: AsyncMailroom, line: Json) -> Json:
    if "raw" in line:
        return {"unsupported": "the SDK sends no bytes of the program's own"}
    request, method = line["request"], line["method"]
    if line.get("nan"):
        request["metadata"] = {"not a number": float("nan")}
    result = await CALLS[method](room, request, line["timeout_ms"] / 1000)
    if method == "BroadcastMessage":
        return {"ok": {"results": [outcome_of(one) for one in result]}}
    if method == "ClearMailbox":
        return {"ok": {"deleted": result}}
    value = proto(result)
    return {"ok": {WRAP[method]: value} if method in WRAP and value else value or {}}


async def stream(room: AsyncMailroom, request: Json, write: Write) -> Json:
    options = {snake(key): value for key, value in request.items() if key not in ("agent", "maxBatch")}
    async with room.subscribe(request.get("agent"), caught_up=True, **options) as events:
        async for event in events:
            write({"event": event_of(event)})
    return {"end": {"code": "OK"}}


async def bulk(room: AsyncMailroom, line: Json) -> Json:
    messages = [message for request in line["requests"] for message in request["messages"]]
    drafts = [Draft(one.get("recipient", ""), one.get("content", ""), **send_options(one)) for one in messages]
    outcomes = room.send_many(drafts, timeout=line["timeout_ms"] / 1000)
    return {"responses": [{"results": [outcome_of(outcome) async for outcome in outcomes]}]}


async def handle(line: Json, write: Write) -> Json:
    try:
        if line["op"] == "open":
            access: Json = {option: line[key] for key, option in ACCESS.items() if key in line}
            address = line.get("target", "").replace("unix:///", "unix:/") or None
            rooms[line["name"]] = AsyncMailroom(address, **access)
            return {}
        room = rooms[line["on"]]
        if line["op"] == "unary":
            return await unary(room, line)
        return await (stream(room, line["request"], write) if line["op"] == "stream" else bulk(room, line))
    except MailroomError as error:
        return {"end" if line["op"] == "stream" else "error": error_of(error)}


HELLO = {"library": "mailroom", "version": version("mailroomd"), "runtime": f"Python {platform.python_version()}"}
asyncio.run(serve({**HELLO, "kind": "sdk"}, handle))
