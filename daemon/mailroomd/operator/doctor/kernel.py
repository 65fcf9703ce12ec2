"""Kernel — can the daemon be told of files at once? By inotify, which has limits for each user.

Where they are too low, files that agents leave or take are found late, by looking now and then; nothing is lost.
"""

__all__ = ["check"]

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from mailroomd.operator.doctor.findings import Finding, ok, warning
from mailroomd.operator.places import Places

LIMITS = Path("/proc/sys/fs/inotify")
NEEDED = {  # the kernel's own defaults on small machines; editors and file synchronisers use many
    "max_user_instances": 128,
    "max_user_watches": 8192,
    "max_queued_events": 16384,
}


def check(_places: Places) -> Iterator[Finding]:
    """Looks at inotify."""
    fault = _try_one()
    if fault:
        yield warning("inotify", f"no watch can be had: {fault}", "raise fs.inotify.max_user_instances with sysctl")
        return
    low = {name: value for name, least in NEEDED.items() if (value := _limit(name)) is not None and value < least}
    for name, value in low.items():
        advice = f"sysctl fs.inotify.{name}={NEEDED[name]}"
        yield warning("inotify", f"fs.inotify.{name} is {value}: files may be noticed late", advice)
    if not low:
        yield ok("inotify", "its limits are high enough")


def _try_one() -> str:
    """Returns why there is no inotify instance for us, "" when there is."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle: int = libc.inotify_init1(os.O_CLOEXEC)
    if handle < 0:
        return os.strerror(ctypes.get_errno()).lower()
    os.close(handle)
    return ""


def _limit(name: str) -> int | None:
    try:
        return int((LIMITS / name).read_text())
    except (OSError, ValueError):
        return None
