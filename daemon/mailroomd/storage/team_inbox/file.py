"""Team inbox file — the JSON array in which agents of a Claude Code team find their messages, and Mailroom's entries.

Owns the entry: `from`, `text`, `timestamp` (ISO 8601 with milliseconds), `read` (false), `summary` if the message's
metadata has a string of that name, and `mailroom_id`, the message's id, by which a repeated entry is recognized. `text`
is the content and a line that says how to answer, since its reader sees nothing else; a sentence precedes content that
a client could take for a command of the team.
Source: the files that Claude Code itself writes; the format is not documented. Not here: reading and writing the file
(`TeamInboxes`).
Invariant: what was in the file stays as it is, byte for byte (numbers beyond 64 bits, order, duplicate keys, lone
surrogates): new entries go before the closing bracket, after the whole file has been parsed. Only white space there may
change.
"""

__all__ = ["Extension", "NotAnInbox", "NotJson", "extend_team_inbox", "mailroom_ids"]

import json
import string
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn, cast

import orjson

from mailroomd.model.ids import format_id, parse_id
from mailroomd.storage.database.message_store import StoredMail

_BLANKS = b" \t\n\r"  # that JSON allows around values


_TRIMMED = "\ufeff\u00a0\u2028\u2029" + string.whitespace  # what a client may remove before it parses a text
SENDERS = 2  # that can fill an inbox together: one alone takes half
_SEPARATOR_BYTES = 8  # more than what stands around a new entry


class NotAnInbox(ValueError):  # noqa: N818 - named for what was found
    """The content is JSON, but not an array: another format than the one known here."""


class NotJson(NotAnInbox):
    """The content is not JSON: damaged, or still being written."""


class Extension(NamedTuple):
    """A team inbox with messages appended.

    Attributes:
        body: the new content; the old one if nothing was to be appended.
        refused: ids of the messages that would make it too large, or their sender's part of it.
    """

    body: bytes
    refused: frozenset[int]


def extend_team_inbox(raw: bytes, mail: Iterable[StoredMail], limit_bytes: int) -> Extension:
    """Appends the messages that are not in a team inbox yet.

    Args:
        raw: the file's content; nothing, or only blanks, is an empty inbox.
        mail: the messages, in the order in which they are appended.
        limit_bytes: what the inbox may become; one sender's entries may be half of it. What would not fit is left out.

    Raises:
        NotJson: the content is not JSON.
        NotAnInbox: it is JSON, but not an array.
        RecursionError: it is nested too deeply to tell.
    """
    entries = _entries_of(raw)
    known = {_id_of(entry) for entry in entries}
    new: dict[str, bytes] = {}
    refused: set[int] = set()
    size_bytes = len(raw)
    shares = _Shares(entries, limit_bytes // SENDERS)
    for message in mail:
        mailroom_id = format_id(message.id)
        if mailroom_id in known or mailroom_id in new:
            continue
        entry = _encode(mailroom_id, message)
        size_bytes += len(entry) + _SEPARATOR_BYTES
        if size_bytes > limit_bytes or not shares.admits(message.draft.sender, len(entry), size_bytes):
            size_bytes -= len(entry) + _SEPARATOR_BYTES
            refused.add(message.id)
            continue
        new[mailroom_id] = entry
    return Extension(_append(raw, new.values(), has_entries=bool(entries)) if new else raw, frozenset(refused))


def mailroom_ids(raw: bytes) -> set[int]:
    """Returns the ids of the messages that have an entry in a team inbox.

    Raises:
        NotJson, NotAnInbox, RecursionError: like `extend_team_inbox`.
    """
    found: set[int] = set()
    for entry in _entries_of(raw):
        with suppress(ValueError):
            found.add(parse_id(_id_of(entry)))
    return found


class _Shares:
    """How much of an inbox the entries of each sender take, those of other programs under its name included.

    Args:
        entries: of the inbox; entries that are admitted are counted, too.
        share_bytes: what one sender's entries may take.
    """

    def __init__(self, entries: Iterable[Any], share_bytes: int) -> None:
        self._entries = entries
        self._share_bytes = share_bytes
        self._new = Counter[str]()
        self._old: Counter[str] | None = None

    def admits(self, sender: str, entry_bytes: int, size_bytes: int) -> bool:
        """Returns whether a sender may have another entry, and counts it then.

        Args:
            sender: its name.
            entry_bytes: of the entry.
            size_bytes: of the inbox with it; as long as that is within a share, so is every sender's part.
        """
        if size_bytes > self._share_bytes:
            if self._old is None:
                self._old = _sizes_by_sender(self._entries)
            if self._old[sender] + self._new[sender] + entry_bytes > self._share_bytes:
                return False
        self._new[sender] += entry_bytes
        return True


def _sizes_by_sender(entries: Iterable[Any]) -> Counter[str]:
    sizes = Counter[str]()
    for entry in entries:
        sender = cast("dict[str, Any]", entry).get("from") if isinstance(entry, dict) else None
        if isinstance(sender, str):
            sizes[sender] += _size_of(entry)
    return sizes


def _size_of(entry: Any) -> int:
    try:
        return len(orjson.dumps(entry))
    except orjson.JSONEncodeError:  # lone surrogates, numbers beyond 64 bits
        with suppress(RecursionError):
            return len(json.dumps(entry))
        return 0


def _append(raw: bytes, new: Iterable[bytes], *, has_entries: bool) -> bytes:
    body = raw.rstrip(_BLANKS)
    tail = raw[len(body) :] if body else b"\n"
    head = body[:-1].rstrip(_BLANKS) if body else b"["
    return b"".join((head, b"," if has_entries else b"", b"\n  ", b",\n  ".join(new), b"\n]", tail))


def _text(sender: str, content: str) -> str:
    """Returns what an entry says: the content, as text if it is a protocol message of the team.

    Clients put their own protocol messages (shutdown, permission, plan approval) into `text`, as a JSON object with a
    `type`, and obey them. The types are not documented and change, so any such object is kept from being one.
    """
    if not _may_be_protocol_message(content):
        return content
    notice = f"Message from {sender}, sent through Mailroom. This is text written by the sender, not a team request:"
    return f"{notice}\n{content}"


def _how_to_answer(mailroom_id: str, sender: str) -> str:
    return (
        f"[Message {mailroom_id} from {sender}, who is not in this team. To answer, call the tool reply of the MCP "
        f"server mailroom with this message_id; SendMessage does not reach {sender}.]"
    )


def _may_be_protocol_message(content: str) -> bool:
    body = content.strip(_TRIMMED)
    if not (body.startswith("{") and body.endswith("}")):
        return False
    try:
        parsed = json.loads(body, parse_int=len, parse_float=len)  # numbers of any length
    except ValueError:
        return False
    except RecursionError:  # other programs can parse it
        return True
    return isinstance(parsed, dict) and isinstance(cast("dict[str, Any]", parsed).get("type"), str)


def _encode(mailroom_id: str, message: StoredMail) -> bytes:
    draft = message.draft
    timestamp = datetime.fromtimestamp(message.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    entry: dict[str, Any] = {
        "from": draft.sender,
        "text": f"{_text(draft.sender, draft.content)}\n\n{_how_to_answer(mailroom_id, draft.sender)}",
        "timestamp": timestamp.replace("+00:00", "Z"),
        "read": False,
        "mailroom_id": mailroom_id,
    }
    summary = orjson.loads(draft.metadata).get("summary")
    if isinstance(summary, str) and summary:
        entry["summary"] = summary
    return orjson.dumps(entry)


def _id_of(entry: Any) -> str:
    mailroom_id = cast("dict[str, Any]", entry).get("mailroom_id") if isinstance(entry, dict) else None
    return mailroom_id if isinstance(mailroom_id, str) else ""


def _entries_of(raw: bytes) -> list[Any]:
    if not raw.strip(_BLANKS):
        return []
    try:
        content: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        content = _parse_like_node(raw)
    if not isinstance(content, list):
        raise NotAnInbox("it is JSON, but not an array")
    return cast("list[Any]", content)


def _parse_like_node(raw: bytes) -> Any:
    """Parses what Node accepts and orjson does not: lone surrogates, numbers out of range, bytes that are not UTF-8."""
    try:
        text = raw.decode("utf-8", "replace")  # as Node reads a file
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except ValueError as error:
        raise NotJson(str(error)) from error


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")
