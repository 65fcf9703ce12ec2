"""journal — log lines as systemd's journal expects them: with a priority, so that `journalctl -p err` finds errors.

Owns the test whether a descriptor leads to the journal, and the prefix of each level. The journal adds time, unit and
process. Sources: JOURNAL_STREAM in systemd.exec(5), the prefixes in sd-daemon(3).
"""

__all__ = ["is_journal", "prefixed"]

import os
from collections.abc import Mapping

_STDERR = 2
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>"}


def is_journal(descriptor: int = _STDERR, environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether a descriptor leads to the journal; the variable alone survives a redirection."""
    device, colon, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return bool(colon) and (device, inode) == (str(status.st_dev), str(status.st_ino))


def prefixed(text: str, level: str) -> str:
    """Returns text with the level's priority in front of every line.

    The journal makes an entry of every line. Lines end with a line feed only: journald knows no other separator.
    """
    return "\n".join(_PRIORITIES[level] + line for line in text.split("\n"))
