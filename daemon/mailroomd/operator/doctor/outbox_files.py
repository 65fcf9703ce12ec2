"""Outbox files — are there files that the daemon ignores, because they are not responses?

The daemon logs each once, when it first ignores it. The file stays, and its writer may be waiting for an effect.
A bounded number of files is read.
"""

__all__ = ["check"]

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from mailroomd.model.names import is_name
from mailroomd.operator.doctor.below import names_below, open_below
from mailroomd.operator.doctor.finding import Finding, ok, warning
from mailroomd.operator.installation import Installation
from mailroomd.storage.outbox.file import NotAResponse, is_candidate, read_response, shown, stat_file

MAX_FILES = 5000  # that are opened
MAX_NAMED = 3
GRACE_SEC = 60.0  # since the last change: the file may still be written, or the daemon may be about to read it


def check(installation: Installation) -> Iterator[Finding]:
    """Reads the older files as the daemon does."""
    ignored: list[str] = []
    looked_at = 0
    for session in names_below(installation.root, installation.outbox.name):
        if looked_at >= MAX_FILES:
            break
        with suppress(OSError), open_below(installation.root, installation.outbox.name, session) as directory:
            for name in filter(is_candidate, names_below(installation.outbox, session, limit=MAX_FILES - looked_at)):
                looked_at += 1
                if reason := _reason(directory, session, name):
                    ignored.append(f"{shown(session)}/{shown(name)} ({reason})")
    if not ignored:
        yield ok("outbox files", f"none of {looked_at:,} is ignored" if looked_at else "none")
        return
    some = "1 file is" if len(ignored) == 1 else f"{len(ignored):,} files are"
    named = "; ".join(ignored[:MAX_NAMED]) + ("; …" if len(ignored) > MAX_NAMED else "")
    yield warning(
        "outbox files",
        f"{some} ignored: {named}",
        "correct the program that writes them, and remove them: a response is one JSON object in "
        "outbox/SESSION/NAME.json, renamed into place",
    )


def _reason(directory: int, session: str, name: str) -> str:
    """Returns why the daemon ignores a file; nothing if it does not, or not yet."""
    status = stat_file(directory, name)
    if status is None or time.time() - status.st_mtime < GRACE_SEC:
        return ""
    if not is_name(session):
        return "its directory's name is no session's"
    try:
        read_response(directory, name, status)
    except NotAResponse as error:
        return str(error)
    except OSError as error:
        return error.strerror or os.strerror(error.errno or 0)
    return ""
