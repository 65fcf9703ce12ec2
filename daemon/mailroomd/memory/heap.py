"""heap — returns freed memory to the operating system, which the C library otherwise keeps.

Not here: when to do so (the caller knows that it has just freed much). Source: glibc's malloc_trim(3).
"""

__all__ = ["trim_heap"]

import ctypes

_libc = ctypes.CDLL(None)


def trim_heap() -> None:
    """Returns free memory; takes a few milliseconds per 100 MB. Does nothing if the C library has no malloc_trim."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
