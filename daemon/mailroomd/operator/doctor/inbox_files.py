"""Inbox files — do the files of unread messages agree with the database?

Each unread message is stored twice. SQLite cannot detect a flipped bit within a text; comparing both copies can, and
the good copy allows a repair. Only the newest messages are compared, and nothing is changed. Without the directory
there is nothing to compare: then the daemon has used another root.
"""

__all__ = ["check"]

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mailroomd.model.states import DeliveryState
from mailroomd.operator.doctor.below import read_below
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only

MAX_COMPARED = 5000  # takes about 0.3 s
MAX_NAMED = 5
_MAX_FILE_BYTES = 64 << 20  # far above the largest; its agent may have added to it
_UNREAD = (
    "SELECT id, recipient, CAST(content AS BLOB), CAST(sender AS BLOB) FROM messages"
    " WHERE state < ? AND file_error = '' ORDER BY id DESC LIMIT ?"
)


def check(installation: Installation) -> Iterator[Finding]:
    """Compares both copies. Reports nothing if the database cannot be read, which its own check reports."""
    if not installation.database.exists():
        return
    try:
        with closing(open_read_only(installation.database)) as connection:
            rows = connection.execute(_UNREAD, (DeliveryState.READ, MAX_COMPARED)).fetchall()
    except sqlite3.Error:
        return
    if rows and not installation.inbox.exists():
        yield warning(
            "root directory",
            f"the database has files of unread messages in inbox/, but {installation.inbox} does not exist",
            "if the daemon had another root directory, set MAILROOM_ROOT to it (or give --root); otherwise start "
            "`mailroomd`, which writes the files again",
        )
        return
    different = [path for row in rows if (path := _differing_file(installation, *row))]
    if not different:
        yield ok("copies", f"the inbox files of the {len(rows):,} newest unread messages match the database")
        return
    names = ", ".join(map(str, different[:MAX_NAMED])) + (", …" if len(different) > MAX_NAMED else "")
    advice = "compare both (`mailroom show ID`), ask the sender, and check the disk; agents read the file"
    yield problem("copies", f"{len(different)} of {len(rows):,} inbox files differ from the database: {names}", advice)


def _differing_file(
    installation: Installation, message_id: int, recipient: str, content: bytes, sender: bytes
) -> Path | None:
    """Returns a message's file if it differs from the database. A file that its agent has removed does not count."""
    parts = (installation.inbox.name, recipient, f"{message_id:016x}.json")
    path = installation.root.joinpath(*parts)
    try:
        file = json.loads(read_below(installation.root, *parts, limit_bytes=_MAX_FILE_BYTES))
        is_same = (file["content"].encode(), file["from"].encode()) == (content, sender)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return path
    return None if is_same else path
