"""regular_file — reads a file that somebody has named, without ever waiting for it.

Opening a named pipe waits for a writer, and reading a terminal or a device may never end: a program that only wants a
certificate or a token would hang at its start, deaf to signals.
"""

__all__ = ["read_regular"]

import errno
import os
import stat
from pathlib import Path

_NULL_DEVICE = os.makedev(1, 3)  # /dev/null, an empty file by custom


def read_regular(path: Path, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """Returns a file's content, and the status of the file that it was read from.

    Raises:
        OSError: it cannot be read, is neither a regular file nor /dev/null, or is larger than `max_bytes`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode) and status.st_rdev != _NULL_DEVICE:
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"Larger than {max_bytes >> 20} MiB", str(path))
    return content, status
