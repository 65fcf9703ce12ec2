"""SharedMemory — pages that the supervisor passes to its workers when it spawns them.

Owns one sealed memfd and its mapping. The memfd has no name in any file system, so `kill -9` leaves nothing behind: the
pages disappear with the last process that maps them. (multiprocessing.shared_memory is unsuitable: its resource tracker
unlinks the segment as soon as any attached process exits.) Above: cells, the control page, the mailbox table.
Invariant: the size never changes, so no access to the buffer can raise SIGBUS.
"""

__all__ = ["SharedMemory"]

import fcntl
import mmap
import os
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.context import assert_spawning
from typing import Any, Self

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedMemory:
    """Anonymous shared pages; pass it to a child as an argument of a `spawn`ed process.

    Attributes:
        buffer: the pages, writable, zeroed at creation.
        size_bytes: length of the buffer.
    """

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        """Maps a sealed memfd of `size_bytes` and takes ownership of its descriptor."""
        self._descriptor = descriptor
        self._mapping = mmap.mmap(descriptor, size_bytes)
        self.buffer = memoryview(self._mapping)
        self.size_bytes = size_bytes

    @classmethod
    def create(cls, name: str, size_bytes: int) -> Self:
        """Creates zeroed pages; /proc/PID/maps shows them as `memfd:name`.

        Raises:
            OSError: no memory or no descriptor is left.
        """
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size_bytes)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            return cls(descriptor, size_bytes)
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Releases the pages in this process; other processes keep theirs. May be called repeatedly."""
        self.buffer.release()
        with suppress(BufferError):  # a cell still refers to the pages: the mapping goes with its last view
            self._mapping.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __reduce__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return _attach, (reduction.DupFd(self._descriptor), self.size_bytes)


def _attach(passed: Any, size_bytes: int) -> SharedMemory:
    return SharedMemory(passed.detach(), size_bytes)
