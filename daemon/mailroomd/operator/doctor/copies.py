"""Copies — do the inbox files of unread messages say what the database says?

Each unread message is kept twice. A bit that flipped inside a text is damage that the database cannot see by itself;
its other copy shows it, and is the way back. Reads the newest messages only, and changes nothing.
"""

__all__ = ["check"]

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mailroomd.operator.doctor.database import open_for_reading
from mailroomd.operator.doctor.findings import Finding, ok, problem
from mailroomd.operator.places import Places

MOST = 5000  # messages compared: some 0.3 s
SHOWN = 5  # files in a sentence
UNREAD = (
    "SELECT id, recipient, CAST(content AS BLOB), CAST(sender AS BLOB) FROM messages"
    " WHERE state < 4 AND file_error = '' ORDER BY id DESC LIMIT ?"
)


def check(places: Places) -> Iterator[Finding]:
    """Compares; says nothing where the database itself is the finding."""
    if not places.database.exists():
        return
    try:
        with closing(open_for_reading(places.database)) as connection:
            rows = connection.execute(UNREAD, (MOST,)).fetchall()
    except sqlite3.Error:
        return
    different = [path for row in rows if (path := _different_copy(places.inbox, *row))]
    if not different:
        yield ok("copies", f"the {len(rows):,} newest unread messages are the same in the database and in their files")
        return
    names = ", ".join(map(str, different[:SHOWN])) + (", …" if len(different) > SHOWN else "")
    advice = "look at both (`mailroom show ID`), ask who sent it, and check the disk; agents read the file"
    yield problem("copies", f"{len(different)} of {len(rows):,} inbox files differ from the database: {names}", advice)


def _different_copy(inbox: Path, number: int, recipient: str, content: bytes, sender: bytes) -> Path | None:
    """Returns the file of a message if it says something else; one that its agent has taken says nothing."""
    path = inbox / recipient / f"{number:016x}.json"
    try:
        said = json.loads(path.read_bytes())
        same = (said["content"].encode(), said["from"].encode()) == (content, sender)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return path
    return None if same else path
