"""UnknownFiles — complete inbox files of messages that the database does not have.

They are left when the database is lost, moved away, or replaced by an older backup: mail that was accepted, and not
read. Two rules, because agents may write to these directories, too:
- Only at the daemon's start, and only files with ids above the highest that this database has issued, are *imported*.
  It has never had these messages, so it cannot have counted them as read and deleted them; and as they are above every
  id, no cursor has passed them. An id from the future is refused: it would take all later ids with it.
- All others are *dismissed* when their mailbox's owner acknowledges them by id, or clears the mailbox.

An imported sender counts as unverified: a file proves nothing. Not here: the commit.
Invariant: a file of a message that the database knows is never touched.
"""

__all__ = ["UnknownFiles"]

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, cast

import orjson
from mailroom.inbox_file import ID_KEY, KIND_KEY, MAILBOX_KEY, MESSAGE, TIMESTAMP_KEY
from mailroom.inbox_file_encoder import is_whole_inbox_file
from mailroom.message_fields import LIFETIME, MESSAGE_ID, MOMENT, NAME, OBJECT, PRIORITY, SENT_FIELDS, TEXT, Kind

from mailroomd.core.json_depth import is_deeper
from mailroomd.core.validation import check_draft
from mailroomd.model.errors import MailroomError
from mailroomd.model.ids import format_id, milliseconds_of, parse_id
from mailroomd.model.limits import MAX_METADATA_DEPTH
from mailroomd.model.message import Draft, Priority
from mailroomd.observability.log import log
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.message_store import StoredMail
from mailroomd.storage.inbox.files import InboxFiles

AHEAD_MS = 600_000  # ids may run ahead of a clock that was set back


class UnknownFiles:
    """Finds, reads and removes such files.

    Args:
        files: the inbox directories.
        ledger: what the database knows.
        remove: removes files of a mailbox by id; returns the ids of those that are gone.
    """

    def __init__(
        self, files: InboxFiles, ledger: FileLedger, remove: Callable[[str, Sequence[int]], list[int]]
    ) -> None:
        self._files = files
        self._ledger = ledger
        self._remove = remove

    def read(self, mailbox: str, message_id: int, now_ms: int) -> StoredMail | None:
        """Returns the message in a file; None if it is not one that the daemon could have written by now."""
        if milliseconds_of(message_id) > now_ms + AHEAD_MS:
            return None
        try:
            raw = self._files.read(mailbox, message_id)
            return None if raw is None else _decode(raw, mailbox, message_id)
        except OSError:
            return None
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - of this file: the others are read
            log.exception("inbox file set aside: it cannot be read", message_id=format_id(message_id), mailbox=mailbox)
            return None

    def dismiss(self, mailbox: str, message_ids: Iterable[int]) -> list[int]:
        """Removes the files among these that the database does not know; returns their ids."""
        return self._remove(
            mailbox, [message_id for message_id in message_ids if self._is_unknown(mailbox, message_id)]
        )

    def dismiss_some(self, mailbox: str, limit: int) -> list[int]:
        """Removes up to `limit` files of a mailbox that the database does not know; returns their ids."""
        return self.dismiss(mailbox, islice(self._unknown_in(mailbox), limit))

    def _unknown_in(self, mailbox: str) -> Iterator[int]:
        try:
            ids = self._files.list_ids(mailbox) or set()
        except OSError:
            return
        yield from (message_id for message_id in sorted(ids) if self._is_unknown(mailbox, message_id))

    def _is_unknown(self, mailbox: str, message_id: int) -> bool:
        try:
            raw = self._files.read(mailbox, message_id)
            is_whole = raw is not None and is_whole_inbox_file(raw, message_id)
        except OSError:
            return False
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - of this file: it stays where it is
            log.exception("inbox file set aside: it cannot be read", message_id=format_id(message_id), mailbox=mailbox)
            return False
        return is_whole and not self._ledger.knows_message(message_id)


def _decode(raw: bytes, mailbox: str, message_id: int) -> StoredMail | None:
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, Any]", body)
    if fields.get(KIND_KEY) != MESSAGE or fields.get(ID_KEY) != format_id(message_id):
        return None
    try:
        return _mail_of(fields, mailbox, message_id)
    except (MailroomError, ValueError, TypeError, KeyError):
        return None


def _mail_of(fields: dict[str, Any], mailbox: str, message_id: int) -> StoredMail:
    """Returns the message of an inbox file.

    Raises:
        MailroomError, ValueError, TypeError, KeyError: a field is absent, mistyped, or not what a sender may send.
    """
    if fields[MAILBOX_KEY] != mailbox:
        raise ValueError("it belongs to another mailbox")
    timestamp_ms = _milliseconds(fields[TIMESTAMP_KEY])
    values = {
        field.stored: _FROM_FILE[field.kind](_typed(fields[field.key], field.kind.file_type), timestamp_ms)
        for field in SENT_FIELDS
        if not field.is_optional or field.key in fields
    }
    draft = Draft(**values)
    check_draft(draft)
    return StoredMail(message_id, timestamp_ms, draft)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError("a field has another type")
    return value


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time has no zone")
    milliseconds = round(moment.timestamp() * 1000)
    if milliseconds < 0:
        raise ValueError("a time is before 1970")
    return milliseconds


def _encoded(metadata: dict[str, Any], _: int) -> bytes:
    encoded = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS)
    if is_deeper(encoded, MAX_METADATA_DEPTH):
        raise ValueError("it is nested too deeply")
    return encoded


_FROM_FILE: dict[Kind, Callable[[Any, int], Any]] = {  # of a message that was accepted at this time
    NAME: lambda name, _: name,
    TEXT: lambda text, _: text,
    OBJECT: _encoded,
    MESSAGE_ID: lambda text, _: parse_id(text),
    PRIORITY: lambda name, _: Priority[name.upper()],
    LIFETIME: lambda text, timestamp_ms: max(1, _milliseconds(text) - timestamp_ms),
    MOMENT: lambda text, _: _milliseconds(text),
}
