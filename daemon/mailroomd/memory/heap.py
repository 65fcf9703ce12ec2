"""heap — gives freed memory back to the system: the C library keeps it otherwise, however much it was.

Not here: when (whoever knows that much was freed at once). Source: malloc_trim(3), of glibc; others have none.
"""

__all__ = ["trim_heap"]

import ctypes

_libc = ctypes.CDLL(None)


def trim_heap() -> None:
    """Gives back what is free; takes some milliseconds for each 100 MB. Does nothing where the C library can't."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
