"""Private files — files of the dashboard that only its user can read.

Invariant: a file is complete under its name or absent, and nobody else could read it at any moment.
"""

__all__ = ["append_line", "make_private_directory", "write_private"]

import os
import secrets
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


def write_private(path: Path, content: bytes) -> None:
    """Writes a file in place of an earlier one, durably.

    Raises:
        OSError: it cannot be written; the earlier one is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(temporary, os.O_EXCL, content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: bytes) -> None:
    """Appends a line to a file, durably.

    Raises:
        OSError: it cannot be written.
    """
    _write(path, os.O_APPEND, line + b"\n")


def _write(path: Path, flag: int, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flag, FILE_MODE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
