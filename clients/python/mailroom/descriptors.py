"""descriptors — keeps descriptors 0, 1 and 2 for standard input, output and error.

A program may be started with some of them closed. The next file that it opens would then take the number, and whatever
this process or a child writes to standard output or error would end up in that file.
"""

__all__ = ["reserve_standard_descriptors"]

import os
import sys
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


def _open(descriptor: int, mode: str) -> TextIO:
    return cast("TextIO", open(descriptor, mode, encoding="utf-8", closefd=False))
