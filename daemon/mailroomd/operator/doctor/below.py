"""below — opens directories below a trusted one without following links, as the daemon does.

Another program may write below the root, so that a path that was checked may name something else when it is used. Fixes
therefore work on descriptors, never on paths.
"""

__all__ = ["change_mode", "open_below"]

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def open_below(base: Path, *parts: str, flags: int = os.O_RDONLY) -> Generator[int]:
    """Gives the descriptor of a directory.

    Args:
        base: a directory; a link to it is followed.
        parts: the names below it; none may be a link.
        flags: how the last one is opened: O_RDONLY, or O_PATH if it need not be readable.

    Raises:
        OSError: it does not exist, or a part is a link or not a directory.
    """
    descriptor = os.open(base, (os.O_PATH if parts else flags) | _DIRECTORY)
    try:
        for depth, part in enumerate(parts, 1):
            part_flags = flags if depth == len(parts) else os.O_PATH
            below = os.open(part, part_flags | _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def change_mode(base: Path, parts: tuple[str, ...], *, add: int = 0, remove: int = 0) -> None:
    """Changes the mode of a directory that belongs to this user.

    Raises:
        OSError: it is gone, a part is a link, or it belongs to another user.
    """
    with open_below(base, *parts, flags=os.O_PATH) as descriptor:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"it belongs to uid {status.st_uid}")
        mode = (status.st_mode & 0o7777 | add) & ~remove
        Path(f"/proc/self/fd/{descriptor}").chmod(mode)  # fchmod refuses a descriptor that was opened with O_PATH
