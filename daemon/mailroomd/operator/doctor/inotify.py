"""inotify — can the daemon watch directories? The kernel limits the watches of each user.

Without inotify the daemon scans periodically: it notices files of agents late, but loses nothing.
"""

__all__ = ["check"]

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from mailroomd.operator.doctor.finding import Finding, ok, warning
from mailroomd.operator.installation import Installation

LIMITS = Path("/proc/sys/fs/inotify")
NEEDED = {  # the kernel's defaults on small machines; editors and file synchronizers use many
    "max_user_instances": 128,
    "max_user_watches": 8192,
    "max_queued_events": 16384,
}


def check(_installation: Installation) -> Iterator[Finding]:
    """Checks inotify and its limits."""
    if error := _try_inotify():
        yield warning("inotify", f"not available: {error}", "raise fs.inotify.max_user_instances with sysctl")
        return
    low = {name: value for name, needed in NEEDED.items() if (value := _limit(name)) is not None and value < needed}
    for name, value in low.items():
        summary = f"fs.inotify.{name} is only {value}, so files may be noticed late"
        yield warning("inotify", summary, f"sysctl fs.inotify.{name}={NEEDED[name]}")
    if not low:
        yield ok("inotify", "limits sufficient")


def _try_inotify() -> str:
    """Returns why no inotify instance can be created, "" if one can."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return os.strerror(ctypes.get_errno()).lower()
    os.close(descriptor)
    return ""


def _limit(name: str) -> int | None:
    try:
        return int((LIMITS / name).read_text())
    except (OSError, ValueError):
        return None
