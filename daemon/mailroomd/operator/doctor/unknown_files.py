"""Unknown files — are there inbox files of messages that the database does not have?

They are left when the database was lost, moved away, or replaced by an older backup. The daemon imports those that are
newer than its database when it starts, and leaves the others until they are acknowledged or cleared.
Files are looked at until a bound is reached.
"""

__all__ = ["check"]

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

from mailroom.inbox_directory import is_mailbox_name
from mailroom.inbox_file_encoder import is_whole_inbox_file

from mailroomd.model.ids import milliseconds_of, parse_id
from mailroomd.operator.doctor.below import names_below, read_below
from mailroomd.operator.doctor.finding import Finding, ok, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.inbox.unknown_files import AHEAD_MS

MAX_FILES = 50_000  # a second
MAX_UNKNOWN = 1000  # that are opened
MAX_NAMED = 3
_MAX_FILE_BYTES = 64 << 20  # far above the largest; its agent may have added to it


class _File(NamedTuple):
    """An inbox file."""

    message_id: int
    mailbox: str
    name: str


def check(installation: Installation) -> Iterator[Finding]:
    """Looks up each file. Reports nothing if the database cannot be read, which its own check reports."""
    files = list(_files(installation))  # before the database: the daemon commits first, then it writes the file
    try:
        last_id, unknown = _without_row(installation, files)
    except sqlite3.Error:
        return
    unknown = [file for file in unknown[:MAX_UNKNOWN] if _is_whole(installation, file)]
    if not unknown:
        if files:
            yield ok("unknown files", f"the database has the messages of {len(files):,} inbox files")
        return
    newer, older = _divide(unknown, last_id)
    if newer:
        yield warning(
            "unknown files", _describe(newer, "newer than the database"), "restart `mailroomd`: it imports them"
        )
    if older:
        first = older[0]
        advice = (
            f"read them, then acknowledge each (`mailroom ack {first.mailbox} {first.name.removesuffix('.json')}`), or "
            f"restore the database that had them"
        )
        yield warning("unknown files", _describe(older, "of messages that the database does not have"), advice)


def _divide(unknown: list[_File], last_id: int) -> tuple[list[_File], list[_File]]:
    """Returns the files that the daemon imports at its next start, and the others."""
    latest_ms = time.time() * 1000 + AHEAD_MS
    newer = [file for file in unknown if file.message_id > last_id and milliseconds_of(file.message_id) <= latest_ms]
    return newer, [file for file in unknown if file not in newer]


def _files(installation: Installation) -> Iterator[_File]:
    root, inbox, count = installation.root, installation.inbox.name, 0
    for mailbox in names_below(root, inbox):
        if not is_mailbox_name(mailbox):
            continue
        for name in names_below(root, inbox, mailbox, limit=MAX_FILES - count):
            count += 1
            if name.endswith(".json"):
                with suppress(ValueError):
                    yield _File(parse_id(name.removesuffix(".json")), mailbox, name)
        if count >= MAX_FILES:
            return


def _without_row(installation: Installation, files: list[_File]) -> tuple[int, list[_File]]:
    """Returns the highest id that was issued, and the files whose messages are not in the database."""
    if not installation.database.exists():
        return 0, files
    with closing(open_read_only(installation.database)) as connection:
        connection.execute("BEGIN")
        row = connection.execute("SELECT value FROM meta WHERE name = 'last_id'").fetchone()
        query = "SELECT 1 FROM messages WHERE id = ?"
        unknown = [file for file in files if connection.execute(query, (file.message_id,)).fetchone() is None]
    return row[0] if row and type(row[0]) is int else 0, unknown


def _is_whole(installation: Installation, file: _File) -> bool:
    """Returns whether a file still exists and is one that the daemon has written."""
    parts = (installation.inbox.name, file.mailbox, file.name)
    try:
        raw = read_below(installation.root, *parts, limit_bytes=_MAX_FILE_BYTES)
    except OSError:
        return False
    return is_whole_inbox_file(raw, file.message_id)


def _describe(files: list[_File], which: str) -> str:
    names = ", ".join(f"{file.mailbox}/{file.name}" for file in files[:MAX_NAMED])
    some = "1 inbox file" if len(files) == 1 else f"{len(files):,} inbox files"
    return f"{some} {which}: {names}" + (", …" if len(files) > MAX_NAMED else "")
