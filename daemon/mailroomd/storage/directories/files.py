"""Files — how the daemon opens, reads and writes below directories that agents can change.

Owns the flags: no link is followed, no descriptor is inherited, and opening never blocks on a pipe or a device. Open
every path relative to the handle of its directory. Not here: what a directory or file means (`InboxFiles`, `Outbox`,
`TeamInboxes`).
"""

__all__ = ["CREATE_FILE", "OPEN_DIRECTORY", "READ_FILE", "read_at_most", "write_whole"]

import os

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read_at_most(handle: int, limit_bytes: int, piece_bytes: int) -> bytes:
    """Returns what a file holds, up to a limit.

    Args:
        piece_bytes: read with one system call; a file that fits into one piece costs two calls.

    Raises:
        OSError: the file cannot be read.
    """
    pieces: list[bytes] = []
    rest_bytes = limit_bytes
    while rest_bytes > 0 and (piece := os.read(handle, min(piece_bytes, rest_bytes))):
        pieces.append(piece)
        rest_bytes -= len(piece)
    return b"".join(pieces)


def write_whole(handle: int, body: bytes) -> None:
    """Writes all bytes, in as many system calls as the kernel needs.

    Raises:
        OSError: the disk is full or failing; part of the body may be written.
    """
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(handle, rest) :]
