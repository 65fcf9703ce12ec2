"""Team inboxes — can the daemon append to the files in which agents of Claude Code's teams find their messages?

Each file is parsed as the daemon parses it. Files are read until a bound is reached, and links are not followed.
"""

__all__ = ["check"]

import os
import time
from collections.abc import Iterator
from pathlib import Path

from mailroomd.operator.doctor.below import names_below, open_below, read_below
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.storage.team_inbox.file import NotAnInbox, NotJson, extend_team_inbox
from mailroomd.storage.team_inbox.inboxes import BROKEN_SEC, MAX_INBOX_BYTES

MAX_BYTES = 128 << 20  # that are read of all files
MAX_FILES = 5000
MAX_REPORTED = 10
_FORMAT = "a JSON array, as Claude Code writes it"


def check(installation: Installation) -> Iterator[Finding]:
    """Reads the team inboxes. Without any, it reports nothing."""
    read = reported = size_bytes = 0
    for parts in _files(installation):
        if read >= MAX_FILES or size_bytes >= MAX_BYTES or reported >= MAX_REPORTED:
            break
        finding, file_bytes = _check_file(installation.root, parts)
        read, size_bytes = read + 1, size_bytes + file_bytes
        if finding is not None:
            reported += 1
            yield finding
    if read and not reported:
        yield ok("team inboxes", f"{read:,} checked, all valid")


def _files(installation: Installation) -> Iterator[tuple[str, ...]]:
    teams = installation.teams.name
    for team in names_below(installation.root, teams):
        for name in names_below(installation.root, teams, team, "inboxes"):
            if name.endswith(".json") and not name.startswith("."):
                yield (teams, team, "inboxes", name)


def _check_file(root: Path, parts: tuple[str, ...]) -> tuple[Finding | None, int]:
    """Returns what is wrong with a file, if anything, and how many bytes were read."""
    path = root.joinpath(*parts)
    try:
        raw = read_below(root, *parts, limit_bytes=MAX_INBOX_BYTES)
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        summary = f"cannot read {path}, so its agent's messages wait: {error.strerror}"
        return problem("team inbox", summary, "make it a regular file of the agent's user, not a link"), 0
    if len(raw) > MAX_INBOX_BYTES:
        summary = f"{path} has more than {MAX_INBOX_BYTES >> 20} MiB, so nothing is appended"
        return problem("team inbox", summary, "let its agent read it, or move it away"), len(raw)
    return _check_content(root, parts, raw), len(raw)


def _check_content(root: Path, parts: tuple[str, ...], raw: bytes) -> Finding | None:
    path = root.joinpath(*parts)
    try:
        extend_team_inbox(raw, (), MAX_INBOX_BYTES)
    except NotJson as error:
        if _age_sec(root, parts) < BROKEN_SEC:
            return warning("team inbox", f"{path} is being written: {error}", "check again in a few seconds")
        advice = "move it away, or correct it; with the next message for it the daemon sets it aside"
        return problem("team inbox", f"{path} is not JSON: {error}", advice)
    except NotAnInbox as error:
        advice = f"make it {_FORMAT}, or move it away; its agent's messages are in `mailroom inbox` meanwhile"
        return problem("team inbox", f"{path} has an unknown format, so nothing is appended: {error}", advice)
    except RecursionError:
        return problem("team inbox", f"{path} is nested too deeply, so nothing is appended", "move it away")
    return None


def _age_sec(root: Path, parts: tuple[str, ...]) -> float:
    try:
        with open_below(root, *parts[:-1], flags=os.O_PATH) as directory:
            return time.time() - os.stat(parts[-1], dir_fd=directory, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0
