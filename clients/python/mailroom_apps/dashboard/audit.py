"""Audit — who did what through the dashboard: one JSON object a line, written before the answer is sent.

Not here: what agents did; the daemon's log and the messages tell.
"""

__all__ = ["Audit"]

from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from mailroom.records import iso_utc

from mailroom_apps.dashboard.private_files import append_line, make_private_directory
from mailroom_apps.dashboard.sessions import Session

FILE = "audit.jsonl"
SHOWN_LINES = 500


class Audit:
    """The audit of one dashboard.

    Args:
        directory: where its file is.
    """

    def __init__(self, directory: Path) -> None:
        self._file = make_private_directory(directory) / FILE

    def record(self, session: Session, action: str, **details: Any) -> None:
        """Appends an entry, durably. Raises OSError if it cannot be written."""
        entry = {"at": iso_utc(datetime.now(UTC)), "session": session.id, "role": session.role, "action": action}
        append_line(self._file, orjson.dumps(entry | details))

    def latest(self) -> list[dict[str, Any]]:
        """Returns the latest entries, newest first; a line that a crash cut off is left out."""
        entries: list[dict[str, Any]] = []
        try:
            with self._file.open("rb") as lines:
                kept = deque(lines, SHOWN_LINES)
        except FileNotFoundError:
            return []
        for line in kept:
            try:
                entries.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue
        return entries[::-1]
