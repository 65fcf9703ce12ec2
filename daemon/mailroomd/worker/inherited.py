"""Inherited — a descriptor that a worker only has to have.

Passing it to a child gives the child the same open file; it stays open until the process ends, however it ends. The
state directory's lock is held that way: by the daemon as a whole, until the last of its processes is gone.
"""

__all__ = ["Inherited"]

from multiprocessing import reduction
from multiprocessing.context import assert_spawning
from typing import Any


class Inherited:
    """Holds `descriptor` open; pass it to a child as an argument of a `spawn`ed process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return _inherit, (reduction.DupFd(self.descriptor),)


def _inherit(passed: Any) -> Inherited:
    return Inherited(passed.detach())
