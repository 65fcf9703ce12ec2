"""Readiness — what a worker's loop waits for: descriptors to read, and queues that have room again.

Owns one poll object. It changes registrations only when they differ, as most turns of a loop wait for the same ones.
"""

__all__ = ["Readiness"]

import math
import select


class Readiness:
    """Waits for descriptors."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, bool] = {}

    def watch_reading(self, fileno: int, wanted: bool = True) -> None:
        """Starts or stops waiting for something to read."""
        self._watch(fileno, select.POLLIN, wanted)

    def watch_writing(self, fileno: int, wanted: bool) -> None:
        """Starts or stops waiting for room to write."""
        self._watch(fileno, select.POLLOUT, wanted)

    def wait(self, timeout_sec: float) -> set[int]:
        """Returns the watched descriptors that are ready; an empty set after the timeout."""
        return {fileno for fileno, _ in self._poll.poll(max(0, math.ceil(timeout_sec * 1000)))}

    def _watch(self, fileno: int, event: int, wanted: bool) -> None:
        if self._watched.get(fileno, False) == wanted:
            return
        self._watched[fileno] = wanted
        if wanted:
            self._poll.register(fileno, event)
        else:
            self._poll.unregister(fileno)
