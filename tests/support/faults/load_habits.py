"""load_habits — who does what in a load: senders of all kinds, readers, takers of files, writers of responses.

Each habit is one coroutine, which runs until the load ends and notes what it asked for before, and what it was told
after. Proportions are bounded: most is plain mail, as in life. Not here: the streams (`load_streams`), the notes.
"""

__all__ = ["everybody", "set_steady_alias"]

import asyncio
import itertools
import json
import os
import random
import sqlite3
import time
from collections.abc import Coroutine, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.load_context import LoadContext, digest_of
from support.faults.load_plan import (
    CLEARED_MAILBOX,
    CLEARING_SENDER,
    EXPIRING_MAILBOX,
    FIRST_MAILBOX,
    MOVING_SESSION,
    OUTBOX_SESSIONS,
    STEADY_AGENT,
    STEADY_SESSION,
    TAKEN_MAILBOX,
    TEAM_MAILBOX,
)
from support.harness.contract import RETRYABLE

LARGE_CHARACTERS = 100_000  # above what one packet of a queue carries
_RETRYABLE_CODES = frozenset(one.value[0] for one in RETRYABLE)
CLEARED_EVERY = 8  # messages of its mailbox
LEFT_LYING_SEC = 30.0  # how long a response may lie in the outbox: the daemon may be away for a while


def everybody(context: LoadContext) -> Sequence[Coroutine[Any, Any, None]]:
    """Returns every habit of a load, to be run until it ends."""
    plan = context.plan
    habits = [_send_on(context, f"s{number}") for number in range(plan.senders)]
    habits += [_read_on(context, f"r{number}") for number in range(1, plan.mailboxes, 2)]
    habits += [_broadcast_on(context), _clear_on(context), _move_alias_on(context)]
    if plan.root:
        habits += [_take_on(context), *(_respond_on(context, session) for session in OUTBOX_SESSIONS)]
    return habits


async def _pause(chance: random.Random, mean_sec: float) -> None:
    await asyncio.sleep(min(4 * mean_sec, chance.expovariate(1 / mean_sec)))


# -- senders ----------------------------------------------------------------------------------------------------------


async def _send_on(context: LoadContext, sender: str) -> None:
    chance = context.chance(f"sender {sender}")
    pause_sec = context.plan.senders / context.plan.sends_per_sec
    count = itertools.count()
    while not context.ending.is_set():
        burst = 25 if chance.random() < 0.01 else 1
        await asyncio.gather(*(_send(context, sender, next(count), chance) for _ in range(burst)))
        await asyncio.sleep(chance.expovariate(1 / pause_sec) * burst)


async def _send(context: LoadContext, sender: str, number: int, chance: random.Random) -> None:
    key = f"{sender}-{number}"
    size = LARGE_CHARACTERS if chance.random() < 0.005 else chance.randrange(400)
    recipient = _recipient(chance, context.plan.mailboxes)
    request = pb.SendMessageRequest(
        recipient=recipient,
        sender=sender,
        content=f"{key} äé✉ " + "x" * size,
        idempotency_key=key if chance.random() < 0.9 else "",
        ttl=Duration(nanos=chance.randrange(200, 999) * 1_000_000) if recipient == EXPIRING_MAILBOX else None,
    )
    if chance.random() < 0.1:  # nobody answers
        request.reply_by.FromNanoseconds(time.time_ns() + chance.randrange(100, 2000) * 1_000_000)
    if not request.idempotency_key:  # once only, and with patience: the gateway repeats it by itself
        await context.attempt(request, 20.0, again=False)
    elif await context.send_until_answered(request, chance) and chance.random() < 0.05:
        await context.send_until_answered(request, chance, again=True)


def _recipient(chance: random.Random, mailboxes: int) -> str:
    others = (TAKEN_MAILBOX, TAKEN_MAILBOX, EXPIRING_MAILBOX, STEADY_SESSION, MOVING_SESSION, TEAM_MAILBOX)
    return chance.choice(others) if chance.random() < 0.2 else f"r{chance.randrange(mailboxes)}"


async def _broadcast_on(context: LoadContext) -> None:
    chance = context.chance("broadcaster")
    recipients = [FIRST_MAILBOX, TAKEN_MAILBOX, *(f"r{one}" for one in range(1, context.plan.mailboxes, 2))]
    for number in itertools.count():
        if context.ending.is_set():
            return
        message = pb.SendMessageRequest(sender="b0", content=f"broadcast {number}", idempotency_key=f"b0-{number}")
        context.note("broadcasting", digest=digest_of(message.content))
        await _broadcast(context, pb.BroadcastMessageRequest(recipients=recipients, message=message))
        await _pause(chance, 0.4)


async def _broadcast(context: LoadContext, request: pb.BroadcastMessageRequest) -> None:
    """Sends a broadcast until every recipient has its copy."""
    is_sent = False
    while not is_sent and time.monotonic() < context.give_up_at:
        answer = await context.retried(lambda: context.stubs.broadcast(request, timeout=5.0), "broadcaster")
        results = list(answer.results) if answer else []
        for recipient, result in zip(request.recipients, results, strict=False):
            if result.HasField("ok"):
                sent = result.ok.message
                digest = digest_of(request.message.content)
                context.note("broadcasts", id=sent.id, to=recipient, recipient=sent.recipient, digest=digest)
            elif result.error.code not in _RETRYABLE_CODES:
                context.trouble("broadcaster", f"{recipient}: {result.error.reason}")
        is_sent = len(results) == len(request.recipients) and all(one.HasField("ok") for one in results)


async def _clear_on(context: LoadContext) -> None:
    """Writes to a mailbox of its own, and clears it now and then."""
    chance = context.chance("clearer")
    for number in itertools.count():
        if context.ending.is_set():
            return
        key = f"{CLEARING_SENDER}-{number}"
        request = pb.SendMessageRequest(
            recipient=CLEARED_MAILBOX, sender=CLEARING_SENDER, content=f"{key} to be cleared", idempotency_key=key
        )
        await context.send_until_answered(request, chance)
        if number % CLEARED_EVERY == CLEARED_EVERY - 1:
            begun = time.time()
            context.note("clearing", begun=begun)
            order = pb.ClearMailboxRequest(agent=CLEARED_MAILBOX)
            if await context.retried(lambda: context.stubs.clear(order, timeout=5.0), "clearer") is not None:  # noqa: B023
                context.note("cleared", begun=begun)
        await _pause(chance, 0.05)


async def set_steady_alias(context: LoadContext) -> None:
    """Sets the alias that is there from the beginning; to be done before anybody sends."""
    await _set_alias(context, STEADY_SESSION, STEADY_AGENT)


async def _move_alias_on(context: LoadContext) -> None:
    """Keeps one alias where it is, and moves another one from agent to agent."""
    chance = context.chance("alias")
    while not context.ending.is_set():
        await _set_alias(context, MOVING_SESSION, chance.choice(("r2", "r4", "")))
        if chance.random() < 0.2:
            await _set_alias(context, STEADY_SESSION, STEADY_AGENT)
        await _pause(chance, 0.3)


async def _set_alias(context: LoadContext, session: str, agent: str) -> None:
    """Sets an alias; no agent ends it."""
    request = pb.SetAliasRequest(agent=agent or STEADY_AGENT, session=session)
    if not agent:
        request.ttl.CopyFrom(Duration())
    context.note("aliasing", session=session, agent=agent)
    if await context.retried(lambda: context.stubs.set_alias(request, timeout=5.0), "alias") is not None:
        context.note("aliased", session=session, agent=agent)


# -- readers ----------------------------------------------------------------------------------------------------------


async def _read_on(context: LoadContext, agent: str) -> None:
    """Checks the inbox and acknowledges what it likes; a part of the mail is never acknowledged."""
    chance = context.chance(f"reader {agent}")
    while not context.ending.is_set():
        await _read_once(context, agent, chance)
        await asyncio.sleep(chance.uniform(0.01, 0.1))


async def _read_once(context: LoadContext, agent: str, chance: random.Random) -> None:
    request = pb.CheckInboxRequest(
        agent=agent,
        limit=chance.choice((1, 20, 300)),
        wait=Duration(seconds=1),
        unoffered_only=chance.random() < 0.8,
    )
    found = await context.retried(lambda: context.stubs.check_inbox(request, timeout=3.0), f"reader {agent}")
    if found is None:
        return
    for message in found.messages:
        context.note("handed", agent=agent, id=message.id, digest=digest_of(message.content))
    wanted = [message.id for message in found.messages if (int(message.id, 16) >> 20) % 8]  # by the millisecond
    if not wanted:
        return
    for number in wanted:
        context.note("asked", agent=agent, id=number)
    order = pb.AcknowledgeMessagesRequest(agent=agent, message_ids=wanted)
    done = await context.retried(lambda: context.stubs.acknowledge(order, timeout=5.0), f"reader {agent}")
    if done is None:
        return
    for number in done.acknowledged_ids:
        context.note("acknowledged", agent=agent, id=number)
    if list(done.acknowledged_ids) != wanted and not context.plan.retention:  # a repeated order may find them gone
        context.trouble(f"reader {agent}", f"was handed what is unknown: {done.unknown_ids}")


# -- agents at work on their files ------------------------------------------------------------------------------------


async def _take_on(context: LoadContext) -> None:
    """Takes files out of an inbox: removes them, or moves them elsewhere."""
    chance = context.chance("taker")
    inbox = Path(context.plan.root) / "inbox" / TAKEN_MAILBOX
    elsewhere = Path(context.plan.root) / "taken"
    while not context.ending.is_set():
        with suppress(OSError):  # not there yet; or the disk is gone for a moment
            elsewhere.mkdir(exist_ok=True)
            for path in sorted(inbox.glob("*.json"))[: chance.randrange(8)]:
                context.note("asked", agent=TAKEN_MAILBOX, id=path.stem)
                if chance.random() < 0.5:
                    path.unlink()
                else:
                    path.rename(elsewhere / path.name)
                context.note("took", id=path.stem)
        await _pause(chance, 0.15)


async def _respond_on(context: LoadContext, session: str) -> None:
    """Leaves responses, one after the other, and looks whether each is durable when its file goes."""
    chance = context.chance(f"outbox {session}")
    outbox = Path(context.plan.root) / "outbox" / session
    for number in itertools.count():
        if context.ending.is_set():
            return
        path = outbox / f"{number:06}.json"
        body = json.dumps({"number": number, "text": "x" * chance.randrange(2000)})
        try:
            context.note("leaving", session=session, name=path.name, number=number)
            _leave(path, body, renamed=chance.random() < 0.7)
            context.note("left", session=session, name=path.name, number=number)
        except OSError:
            await asyncio.sleep(0.1)  # the disk is gone for a moment: whether the file is there is not known
            continue
        await _wait_until_taken(context, path)
        await _pause(chance, 0.2)


def _leave(path: Path, body: str, *, renamed: bool) -> None:
    """Writes a file that survives a power cut, under its name or by a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".tmp") if renamed else path
    with written.open("w") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    if renamed:
        written.rename(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def _wait_until_taken(context: LoadContext, path: Path) -> None:
    """Waits until a response's file is gone; then its row must be there."""
    deadline = time.monotonic() + LEFT_LYING_SEC
    while time.monotonic() < deadline and not context.ending.is_set():
        await asyncio.sleep(0.03)
        if _is_gone(path):
            with suppress(sqlite3.Error, OSError):
                if not _is_stored(context.plan.database, path):
                    context.trouble(f"outbox {path.parent.name}", f"{path.name} is gone, and is not in the database")
            return


def _is_gone(path: Path) -> bool:
    """Returns whether a file is gone for certain: not where the disk is."""
    try:
        return path.parent.is_dir() and path.name not in os.listdir(path.parent)  # noqa: PTH208 - an error is no answer
    except OSError:
        return False


def _is_stored(database: str, path: Path) -> bool:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5.0)) as connection:
        found = connection.execute(
            "SELECT 1 FROM responses WHERE session = ? AND file_name = ?", (path.parent.name, path.name)
        )
        return found.fetchone() is not None
