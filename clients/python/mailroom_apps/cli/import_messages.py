"""`mailroom import` — sends exported messages again, for instance to another daemon.

Each message gets a new id and time. Its idempotency key is derived from its old id and from what it says, so that
repeating an import within a day creates no duplicates, and messages of two daemons with the same id are both imported.
"""

__all__ = ["import_messages"]

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import orjson
import typer
from mailroom.drafts import Draft
from mailroom.errors import MailroomError
from mailroom.message_fields import LIFETIME, MOMENT, OBJECT, SENT_FIELDS, MessageField

from mailroom_apps.cli.connection import connect, quiet_grpc
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address
from mailroom_apps.cli.output import emit, emit_note

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

MAX_UNACKNOWLEDGED = 500  # read messages that are acknowledged together
_REQUIRED = ("id", "recipient", "sender", "content")
# Not the fields of later versions: an import that was begun by an earlier one can be repeated.
_DIGESTED = ("recipient", "sender", "content", "metadata", "type", "thread_id", "in_reply_to", "priority", "timestamp")
DIGEST_BYTES = 8  # two messages of one id and sender have the same one by accident once in 2**64
_OPTIONAL_TEXTS = ("timestamp", *(field.shown for field in SENT_FIELDS[3:] if field.kind is not OBJECT))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One exported message, checked."""

    message_id: str
    draft: Draft
    is_read: bool
    sent_at: datetime | None
    expires_at: datetime | None


def import_messages(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output of `mailroom export`, or - for stdin.")],
    address: Address = None,
) -> None:
    """Send exported messages again, oldest first, to the same recipients. Read ones are acknowledged at once."""
    quiet_grpc()
    lines = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    entries = sorted(_parse_lines(lines), key=lambda entry: entry.message_id)
    _drop_settled_deadlines(entries)
    now = datetime.now(UTC)
    live = [entry for entry in entries if entry.expires_at is None or entry.expires_at > now]
    with connect(address) as client:
        refusals = _send(client, live)
    imported = len(live) - refusals.total()
    expired = f"; {len(entries) - len(live):,} had expired" if len(live) < len(entries) else ""
    emit(f"{imported:,} of {len(entries):,} messages imported{expired}")
    for reason, count in refusals.most_common():
        emit_note(f"{count:,} refused: {reason}")
    if refusals:
        emit_note("repeat the import to send these again; within a day it creates no duplicates")
        raise typer.Exit(ExitCode.REFUSED)


def _parse_lines(lines: bytes) -> Iterator[_Entry]:
    """Yields the message of each line. All must be valid before the first is sent."""
    for line_number, line in enumerate(lines.split(b"\n"), 1):
        if line.strip():
            try:
                yield _parse(line)
            except (ValueError, OverflowError, MailroomError) as error:
                raise OSError(f"line {line_number} is not a valid message: {error}; nothing was imported") from error


def _parse(line: bytes) -> _Entry:
    """Returns the message in one line.

    Raises:
        ValueError: it is not JSON, or not an exported message.
        InvalidArgument: the daemon could not receive it unchanged.
    """
    from mailroom.calls import draft_request

    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    message = cast("dict[str, Any]", value)
    _check_types(message)
    draft = _draft(message)
    draft_request(draft, None)
    return _Entry(
        message["id"], draft, message.get("read") is True, _time(message, "timestamp"), _time(message, "expires_at")
    )


def _check_types(message: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        if not isinstance(message.get(name), str):
            raise ValueError(f"{name} is missing" if name not in message else f"{name} is not a string")
    for name in _OPTIONAL_TEXTS:
        if not isinstance(message.get(name), str | None):
            raise ValueError(f"{name} is not a string")
    if not isinstance(message.get("read"), bool | None):
        raise ValueError("read is not a boolean")
    if not isinstance(message.get("metadata"), dict | None):
        raise ValueError("metadata is not an object")


def _drop_settled_deadlines(entries: list[_Entry]) -> None:
    """Leaves out each `reply_by` that had passed at the export, or whose answer is there.

    Its sender has its receipt or its answer, and would get a receipt again. What is left out depends on the file alone:
    a repeated import sends the same.
    """
    exported_at = max((entry.sent_at for entry in entries if entry.sent_at), default=datetime.now(UTC))
    answered = {entry.draft.options.get("in_reply_to") for entry in entries}
    for entry in entries:
        reply_by = entry.draft.options.get("reply_by")
        if isinstance(reply_by, datetime) and (reply_by <= exported_at or entry.message_id in answered):
            entry.draft.options["reply_by"] = None


def _send(client: "Mailroom", entries: list[_Entry]) -> Counter[str]:
    """Sends messages; returns the number of refused ones by reason."""
    refusals: Counter[str] = Counter()
    read_ids: defaultdict[str, list[str]] = defaultdict(list)
    outcomes = client.send_many(entry.draft for entry in entries)
    for entry, outcome in zip(entries, outcomes, strict=True):
        if outcome.sent is None:
            refusals[str(outcome.error)] += 1
        elif entry.is_read:
            read_ids[outcome.sent.message.recipient].append(outcome.sent.id)
            if sum(map(len, read_ids.values())) >= MAX_UNACKNOWLEDGED:
                _acknowledge(client, read_ids)
    _acknowledge(client, read_ids)
    return refusals


def _acknowledge(client: "Mailroom", read_ids: dict[str, list[str]]) -> None:
    for recipient, ids in read_ids.items():
        client.acknowledge(recipient, ids)
    read_ids.clear()


def _draft(message: Mapping[str, Any]) -> Draft:
    options: dict[str, Any] = {field.name: _option(message, field) for field in SENT_FIELDS[3:]}
    return Draft(
        message["recipient"],
        message["content"],
        sender=message["sender"],
        **options,
        idempotency_key=f"import-{message['id']}-{_digest(message)}",
    )


def _option(message: Mapping[str, Any], field: MessageField) -> Any:
    if field.kind is LIFETIME:
        return _ttl(message)
    return _time(message, field.shown) if field.kind is MOMENT else message.get(field.shown) or None


def _digest(message: Mapping[str, Any]) -> str:
    """Returns a digest of what a message says; not of whether it is read, which may change between two exports.

    Raises:
        ValueError: its metadata is nested too deeply.
    """
    try:
        said = orjson.dumps([message.get(name) or None for name in _DIGESTED], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError("metadata is nested too deeply") from error
    return hashlib.blake2b(said, digest_size=DIGEST_BYTES).hexdigest()


def _ttl(message: Mapping[str, Any]) -> timedelta | None:
    """Returns the full original lifetime. With the rest of it, a repeated import would be a different request."""
    expires_at, sent_at = _time(message, "expires_at"), _time(message, "timestamp")
    if expires_at is None or sent_at is None:
        return None
    if expires_at <= sent_at:
        raise ValueError("expires_at is not after timestamp")
    return expires_at - sent_at


def _time(message: Mapping[str, Any], name: str) -> datetime | None:
    text = message.get(name)
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} is not a time in ISO 8601") from error
    if time.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    return time
