"""InboxCensus — counts the inbox files on disk.

Owns nothing: it reads directories relative to a descriptor and follows no link. Run it in a thread: a directory with a
million files takes a second. Not here: which files should exist (`FileLedger`).
"""

__all__ = ["InboxCensus", "PendingFiles"]

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mailroomd.model.clock import now_ms
from mailroomd.model.ids import format_id, parse_id
from mailroomd.model.names import is_name
from mailroomd.storage.directories.files import OPEN_DIRECTORY


class PendingFiles(NamedTuple):
    """The number of inbox files of one session, the oldest one's id, and when that file was written."""

    files: int
    oldest_id: int
    oldest_written_ms: int


class InboxCensus:
    """Counts inbox files.

    Args:
        root: the directory that holds inbox/.
    """

    def __init__(self, root: Path) -> None:
        self._inbox = root / "inbox"

    def count(self, session: str = "") -> dict[str, PendingFiles]:
        """Returns the sessions that have files, or only the given one; unreadable directories are left out."""
        try:
            inbox_fd = os.open(self._inbox, OPEN_DIRECTORY)
        except OSError:
            return {}
        try:
            names = [session] if session else os.listdir(inbox_fd)  # noqa: PTH208 - by its descriptor
            pending = {name: _count_files(inbox_fd, name) for name in names if is_name(name)}
        finally:
            os.close(inbox_fd)
        return {name: files for name, files in pending.items() if files.files}


def _count_files(inbox_fd: int, name: str) -> PendingFiles:
    try:
        directory_fd = os.open(name, OPEN_DIRECTORY, dir_fd=inbox_fd)
    except OSError:
        return PendingFiles(0, 0, 0)
    files, oldest_id, written_ms = 0, 0, 0
    try:
        with os.scandir(directory_fd) as entries:
            for entry in entries:
                with suppress(ValueError):
                    message_id = parse_id(entry.name.removesuffix(".json")) if entry.name.endswith(".json") else 0
                    files += message_id > 0
                    oldest_id = min(oldest_id or message_id, message_id) or oldest_id
        if files:
            oldest = os.stat(f"{format_id(oldest_id)}.json", dir_fd=directory_fd, follow_symlinks=False)
            written_ms = oldest.st_mtime_ns // 1_000_000
    except OSError:
        pass  # removed meanwhile, or unreadable further on: count what was seen
    finally:
        os.close(directory_fd)
    return PendingFiles(files, oldest_id, written_ms or now_ms())
