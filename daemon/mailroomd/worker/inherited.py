"""InheritedDescriptor — a file descriptor that a worker inherits and keeps open.

Passing it to a child gives the child the same open file, which stays open until the process ends, however it ends. The
daemon holds the lock of its state directory this way, until the last of its processes is gone.
"""

__all__ = ["InheritedDescriptor"]

from multiprocessing import reduction
from multiprocessing.context import assert_spawning
from typing import Any


class InheritedDescriptor:
    """Holds `descriptor` open; pass it as an argument to a `spawn`ed process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return _receive, (reduction.DupFd(self.descriptor),)


def _receive(passed: Any) -> InheritedDescriptor:
    return InheritedDescriptor(passed.detach())
