"""Footprint — what a daemon takes of the machine: memory, descriptors and threads of each of its processes.

Memory is what a process has for itself (USS, from /proc/PID/smaps_rollup): the shared table is counted nowhere.
"""

__all__ = ["Footprint", "footprint"]

from collections.abc import Iterable
from typing import NamedTuple

import psutil


class Footprint(NamedTuple):
    """The sums over some processes."""

    memory_bytes: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory_bytes / 1e6:.1f} MB, {self.descriptors} descriptors, {self.threads} threads"


def footprint(processes: Iterable[psutil.Process]) -> Footprint:
    """Returns what processes take now, all together."""
    found = list(processes)
    return Footprint(
        sum(one.memory_full_info().uss for one in found),
        sum(one.num_fds() for one in found),
        sum(one.num_threads() for one in found),
    )
