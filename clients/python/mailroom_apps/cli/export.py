"""`mailroom export` and `mailroom import` — messages as JSON lines, out of one mail room and into another.

Owns the form: one message a line, as `--json` prints it everywhere. Importing sends: each message gets a new id and
time, under a key made of its old id, so that repeating an import within a day doubles nothing.
"""

__all__ = ["export", "import_messages"]

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import orjson
import typer
from mailroom.drafts import Draft
from mailroom.options import ListOptions

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address
from mailroom_apps.cli.output import emit, emit_json, remark

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

ACKNOWLEDGE_AT = 500  # read messages whose acknowledgement is sent together


def export(
    agents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[AGENT]...", help="Whose mailboxes; all if none is named.", autocompletion=complete_agent
        ),
    ] = None,
    unread: Annotated[bool, typer.Option("--unread", help="Leave out what is read.")] = False,
    thread: Annotated[str | None, typer.Option(help="Only this thread.")] = None,
    query: Annotated[str | None, typer.Option(metavar="TEXT", help="Only what has all of these words.")] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Only what came after this message.")] = "",
    address: Address = None,
) -> None:
    """Prints messages as JSON lines, newest first in each mailbox."""
    options = ListOptions(unread_only=unread, thread_id=thread, query=query)
    with connect(address) as client:
        for agent in agents or [None]:
            for message in client.iter_messages(agent, **options):
                if message.id <= after:  # they come newest first
                    break
                emit_json(message.to_dict())


def import_messages(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `mailroom export` printed; - for stdin.")],
    address: Address = None,
) -> None:
    """Sends exported messages again, oldest first, to the same recipients; what was read is acknowledged at once."""
    lines = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    messages = sorted(_parsed(lines), key=lambda one: one["id"])
    alive = [one for one in messages if not _is_expired(one)]
    with connect(address) as client:
        failed = _send(client, alive)
    done = len(alive) - failed.total()
    gone = f"; {len(messages) - len(alive):,} had expired" if len(alive) < len(messages) else ""
    emit(f"{done:,} of {len(messages):,} messages are there{gone}")
    for sentence, count in failed.most_common():
        remark(f"{count:,} refused: {sentence}")
    if failed:
        remark("repeat the import for these: what is there already is not doubled, for a day")
        raise typer.Exit(ExitCode.REFUSED)


def _parsed(lines: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value: object = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise OSError(f"line {number} is not JSON ({error}): nothing was imported") from error
        message = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        missing = [name for name in ("id", "recipient", "sender", "content") if not isinstance(message.get(name), str)]
        if missing:
            raise OSError(f"line {number} is no exported message, it has no {missing[0]}: nothing was imported")
        yield message


def _send(client: "Mailroom", messages: list[dict[str, Any]]) -> Counter[str]:
    """Sends messages; returns how many were refused, by the sentence why."""
    failed: Counter[str] = Counter()
    read: defaultdict[str, list[str]] = defaultdict(list)
    for message, outcome in zip(messages, client.send_many(map(_draft, messages)), strict=True):
        if outcome.sent is None:
            failed[str(outcome.error)] += 1
        elif message.get("read"):
            read[outcome.sent.message.recipient].append(outcome.sent.id)
            if sum(map(len, read.values())) >= ACKNOWLEDGE_AT:
                _acknowledge(client, read)
    _acknowledge(client, read)
    return failed


def _acknowledge(client: "Mailroom", read: dict[str, list[str]]) -> None:
    for recipient, ids in read.items():
        client.acknowledge(recipient, ids)
    read.clear()


def _draft(message: dict[str, Any]) -> Draft:
    return Draft(
        message["recipient"],
        message["content"],
        sender=message["sender"],
        type=message.get("type") or "text",
        metadata=message.get("metadata"),
        thread_id=message.get("thread_id"),
        in_reply_to=message.get("in_reply_to"),
        priority=message.get("priority"),
        ttl=_time_to_live(message),
        idempotency_key=f"import-{message['id']}",
    )


def _time_to_live(message: dict[str, Any]) -> timedelta | None:
    """Returns all the time that its sender gave it: with what is left, a repeated import would be another request."""
    expires_at, taken_at = _moment(message, "expires_at"), _moment(message, "timestamp")
    return expires_at - taken_at if expires_at and taken_at else None


def _is_expired(message: dict[str, Any]) -> bool:
    expires_at = _moment(message, "expires_at")
    return expires_at is not None and expires_at <= datetime.now(UTC)


def _moment(message: dict[str, Any], name: str) -> datetime | None:
    text = message.get(name)
    return datetime.fromisoformat(text) if text else None
