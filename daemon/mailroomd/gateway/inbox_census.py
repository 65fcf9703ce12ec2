"""InboxCensus — counts the inbox files that lie there, whoever may have put them there or taken them away.

Owns nothing: it reads directories, relative to a handle, and follows no link. For a thread of its own: a directory of a
million files takes a second. Not here: what should be there (`FileLedger`).
"""

__all__ = ["InboxCensus", "PendingFiles"]

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mailroomd.model.ids import parse_id
from mailroomd.model.names import is_name
from mailroomd.storage.directories.files import OPEN_DIRECTORY


class PendingFiles(NamedTuple):
    """How many files of one session lie there, and the oldest one's id, which has its time."""

    files: int
    oldest_id: int


class InboxCensus:
    """Counts inbox files.

    Args:
        root: holds inbox/.
    """

    def __init__(self, root: Path) -> None:
        self._inbox = root / "inbox"

    def take(self, session: str = "") -> dict[str, PendingFiles]:
        """Returns the sessions that have files, or the one that is named; one that can't be read is left out."""
        try:
            inbox = os.open(self._inbox, OPEN_DIRECTORY)
        except OSError:
            return {}
        try:
            names = [session] if session else os.listdir(inbox)  # noqa: PTH208 - by its handle
            counted = {name: _count(inbox, name) for name in names if is_name(name)}
        finally:
            os.close(inbox)
        return {name: found for name, found in counted.items() if found.files}


def _count(inbox: int, name: str) -> PendingFiles:
    try:
        directory = os.open(name, OPEN_DIRECTORY, dir_fd=inbox)
    except OSError:
        return PendingFiles(0, 0)
    files, oldest_id = 0, 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(ValueError):
                    number = parse_id(entry.name.removesuffix(".json")) if entry.name.endswith(".json") else 0
                    files += number > 0
                    oldest_id = min(oldest_id or number, number) or oldest_id
    except OSError:
        pass  # it went away, or can't be read to its end: what was counted is there
    finally:
        os.close(directory)
    return PendingFiles(files, oldest_id)
