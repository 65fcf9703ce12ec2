"""SharedMemory — pages that the supervisor hands down to its workers at spawn.

Owns one sealed memfd and its mapping. It has no name in any file system, so nothing is left behind by `kill -9`: the
pages go with the last process that maps them. It is not multiprocessing.shared_memory, whose resource tracker unlinks
the segment when any attached process exits (facts.md). Above: cells, pages, the mailbox table; below: the kernel.
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
        size_bytes: their number of bytes.
    """

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        """Maps a sealed memfd of `size_bytes` and takes over its descriptor."""
        self._descriptor = descriptor
        self._mapping = mmap.mmap(descriptor, size_bytes)
        self.buffer = memoryview(self._mapping)
        self.size_bytes = size_bytes

    @classmethod
    def create(cls, name: str, size_bytes: int) -> Self:
        """Makes zeroed pages; `name` is what /proc/PID/maps shows (memfd:name).

        Raises:
            OSError: no memory or no descriptor.
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
        """Lets go of the pages, again and again if need be; other processes keep theirs."""
        self.buffer.release()
        with suppress(BufferError):  # a cell still looks at the pages: the mapping goes together with the last view
            self._mapping.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __reduce__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return _attach, (reduction.DupFd(self._descriptor), self.size_bytes)


def _attach(passed: Any, size_bytes: int) -> SharedMemory:
    return SharedMemory(passed.detach(), size_bytes)
