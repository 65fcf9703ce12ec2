"""`mailroom import` — sends exported messages again, for instance to another daemon.

Each message gets a new id and time. Its idempotency key is derived from its old id, so that repeating an import within
a day creates no duplicates.
"""

__all__ = ["import_messages"]

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import orjson
import typer
from mailroom.drafts import Draft

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address
from mailroom_apps.cli.output import emit, emit_note

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

MAX_UNACKNOWLEDGED = 500  # read messages that are acknowledged together
_REQUIRED = ("id", "recipient", "sender", "content")


def import_messages(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output of `mailroom export`, or - for stdin.")],
    address: Address = None,
) -> None:
    """Send exported messages again, oldest first, to the same recipients. Read ones are acknowledged at once."""
    lines = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    messages = sorted(_parse_lines(lines), key=lambda message: message["id"])
    live = [message for message in messages if not _is_expired(message)]
    with connect(address) as client:
        refusals = _send(client, live)
    imported = len(live) - refusals.total()
    expired = f"; {len(messages) - len(live):,} had expired" if len(live) < len(messages) else ""
    emit(f"{imported:,} of {len(messages):,} messages imported{expired}")
    for reason, count in refusals.most_common():
        emit_note(f"{count:,} refused: {reason}")
    if refusals:
        emit_note("repeat the import to send these again; within a day it creates no duplicates")
        raise typer.Exit(ExitCode.REFUSED)


def _parse_lines(lines: bytes) -> Iterator[dict[str, Any]]:
    for line_number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value: object = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise OSError(f"line {line_number} is not valid JSON ({error}); nothing was imported") from error
        message = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        missing = [name for name in _REQUIRED if not isinstance(message.get(name), str)]
        if missing:
            raise OSError(f"line {line_number} is not a message: {missing[0]} is missing; nothing was imported")
        yield message


def _send(client: "Mailroom", messages: list[dict[str, Any]]) -> Counter[str]:
    """Sends messages; returns the number of refused ones by reason."""
    refusals: Counter[str] = Counter()
    read_ids: defaultdict[str, list[str]] = defaultdict(list)
    for message, outcome in zip(messages, client.send_many(map(_draft, messages)), strict=True):
        if outcome.sent is None:
            refusals[str(outcome.error)] += 1
        elif message.get("read"):
            read_ids[outcome.sent.message.recipient].append(outcome.sent.id)
            if sum(map(len, read_ids.values())) >= MAX_UNACKNOWLEDGED:
                _acknowledge(client, read_ids)
    _acknowledge(client, read_ids)
    return refusals


def _acknowledge(client: "Mailroom", read_ids: dict[str, list[str]]) -> None:
    for recipient, ids in read_ids.items():
        client.acknowledge(recipient, ids)
    read_ids.clear()


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
        ttl=_ttl(message),
        idempotency_key=f"import-{message['id']}",
    )


def _ttl(message: dict[str, Any]) -> timedelta | None:
    """Returns the full original lifetime. With the rest of it, a repeated import would be a different request."""
    expires_at, sent_at = _time(message, "expires_at"), _time(message, "timestamp")
    return expires_at - sent_at if expires_at and sent_at else None


def _is_expired(message: dict[str, Any]) -> bool:
    expires_at = _time(message, "expires_at")
    return expires_at is not None and expires_at <= datetime.now(UTC)


def _time(message: dict[str, Any], name: str) -> datetime | None:
    text = message.get(name)
    return datetime.fromisoformat(text) if text else None
