"""RestartDelay — how long to wait before a worker that ran out of memory or descriptors is restarted.

A restart at once would run into the same shortage, and giving up would help nobody: the machine or a client causes it,
and it passes. So the delay doubles from one such exit to the next, and starts anew after a quiet period.
Pure: the clock is the caller's and must be monotonic.
"""

__all__ = ["RestartDelay"]

from collections.abc import Callable

from mailroomd.core.backoff import backoff_sec

QUIET_SEC = 120.0  # without such an exit, after which the delay starts from the beginning


class RestartDelay:
    """The delays of one worker; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._exits = 0  # since the last quiet period
        self._last_exit = float("-inf")
        self._due = float("-inf")

    def after_shortage(self) -> float:
        """Records an exit for want of memory or descriptors, now; returns the delay before the restart in seconds."""
        now = self._clock()
        has_been_quiet = now - self._last_exit > QUIET_SEC
        self._exits = 1 if has_been_quiet else self._exits + 1
        delay_sec = backoff_sec(self._exits)
        self._last_exit, self._due = now, now + delay_sec
        return delay_sec

    def is_over(self) -> bool:
        """Returns whether the worker may be started."""
        return self._clock() >= self._due
