"""Limits — does the daemon have enough file descriptors, and is a mailbox nearly full?

The limits are those of the daemon if it is running and can be examined, otherwise those of this process and of the
configuration.
"""

__all__ = ["check"]

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mailroom.state_lock import read_state_lock

from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only

FEW_DESCRIPTORS = 1024  # each connection takes one, and the daemon itself about a hundred
NEARLY_FULL = 0.9
MAX_NAMED = 5
_LIMIT = "Max open files"


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the limit of descriptors and the unread messages of each mailbox."""
    yield _check_descriptors(installation)
    yield from _check_mailboxes(installation)


def _check_descriptors(installation: Installation) -> Finding:
    pid = read_state_lock(installation.state_dir).pid
    limit, owner = _hard_limit_of(pid) if pid else None, "mailroomd"
    if limit is None:
        limit, owner = resource.getrlimit(resource.RLIMIT_NOFILE)[1], "a process started here"
    if limit == resource.RLIM_INFINITY or limit >= FEW_DESCRIPTORS:
        return ok("open files", f"{owner} may have {'any number' if limit < 0 else f'{limit:,}'} open")
    return warning(
        "open files",
        f"{owner} may have only {limit:,} open: with more connections than that, new ones are refused",
        f"raise the hard limit to {FEW_DESCRIPTORS} or more (LimitNOFILE= of the service, ulimit -Hn), then restart "
        "`mailroomd`",
    )


def _hard_limit_of(pid: int) -> int | None:
    """Returns the limit of a process; None if it cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        hard = next(line for line in lines if line.startswith(_LIMIT)).removeprefix(_LIMIT).split()[1]
        return resource.RLIM_INFINITY if hard == "unlimited" else int(hard)
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _check_mailboxes(installation: Installation) -> Iterator[Finding]:
    limit = installation.settings.max_unread
    if not installation.database.exists():
        return
    try:
        with closing(open_read_only(installation.database)) as connection:
            query = "SELECT name, unread FROM mailboxes WHERE unread >= ? ORDER BY unread DESC LIMIT ?"
            nearly_full = connection.execute(query, (limit * NEARLY_FULL, MAX_NAMED)).fetchall()
    except sqlite3.Error:
        return
    for name, unread in nearly_full:
        advice = f"let {name} read its mail, acknowledge it (`mailroom ack {name} --all`), or raise --max-unread"
        summary = f"{name} has {unread:,} unread messages of at most {limit:,} (--max-unread)"
        if unread >= limit:
            yield problem("unread messages", f"{summary}: more are refused", advice)
        else:
            yield warning("unread messages", summary, advice)
