"""descriptors — keeps descriptors 0, 1 and 2 for standard input, output and error, and raises the limit of all.

A program may be started with some of them closed. The next file that it opens would then take the number, and whatever
this process or a child writes to standard output or error would end up in that file.
"""

__all__ = ["raise_descriptor_limit", "reserve_standard_descriptors"]

import os
import resource
import sys
from contextlib import suppress
from typing import TextIO, cast


def reserve_standard_descriptors() -> None:
    """Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed; call it before anything else is opened.

    Raises:
        OSError: /dev/null cannot be opened.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `descriptor`
            os.set_inheritable(null, True)  # noqa: FBT003 - a function of the standard library
    # Python has set the streams of closed descriptors to None, which hardly any code expects.
    sys.stdin = sys.stdin or _open(0, "r")
    sys.stdout = sys.stdout or _open(1, "w")
    sys.stderr = sys.stderr or _open(2, "w")


def raise_descriptor_limit() -> int:
    """Raises the soft limit of descriptors to the hard one, and returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # the kernel has a lower limit of its own (fs.nr_open)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _open(descriptor: int, mode: str) -> TextIO:
    return cast("TextIO", open(descriptor, mode, encoding="utf-8", closefd=False))
