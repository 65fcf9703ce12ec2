"""private_file — replaces a small file that only its owner can read, such as one with a key; survives a power cut.

Not here: files in directories that agents can change (`mailroomd.storage.directories`).
Invariant: a file is complete under its name or absent, and nobody else could read it at any moment.
"""

__all__ = ["write_private_file"]

import os
import secrets
from pathlib import Path


def write_private_file(path: Path, content: bytes) -> None:
    """Writes a file, durably. A reader sees the former file or the new one, also after a power cut.

    Raises:
        OSError: it cannot be written; the former file is unchanged.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
