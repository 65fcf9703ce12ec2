"""Private files — directories and growing files of the dashboard that only its user can read.

Not here: files that are written whole (`mailroom.private_file`).
"""

__all__ = ["append_line", "make_private_directory"]

import os
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def make_private_directory(path: Path) -> Path:
    """Creates a directory, and each parent that does not exist, and returns it."""
    if not path.parent.exists():
        make_private_directory(path.parent)
    path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    path.chmod(DIRECTORY_MODE)
    return path


def append_line(path: Path, line: bytes) -> None:
    """Appends a line to a file, durably.

    Raises:
        OSError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, FILE_MODE)
    with os.fdopen(descriptor, "ab") as opened:
        opened.write(line + b"\n")
        opened.flush()
        os.fsync(descriptor)
