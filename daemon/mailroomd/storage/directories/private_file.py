"""private_file — replaces a small file that only its owner can read, such as one with a key, and survives a power cut.

Not here: files in directories that agents can change (`files`), which are opened relative to their directory.
"""

__all__ = ["write_private_file"]

import os
import secrets
from pathlib import Path

from mailroomd.storage.directories.files import CREATE_FILE, write_whole


def write_private_file(path: Path, content: bytes) -> None:
    """Writes a file, durably. A reader sees the former file or the new one, also after a power cut.

    Raises:
        OSError: it cannot be written; the former file is unchanged.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, CREATE_FILE, mode=0o600)
    try:
        try:
            write_whole(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
