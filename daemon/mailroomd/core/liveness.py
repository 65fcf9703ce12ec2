"""Liveness — decides which workers are stuck.

A worker is stuck if its last heartbeat is older than its patience. If the supervisor itself was late (it was stopped
and continued, or the whole machine was), old heartbeats prove nothing, and every worker gets a new full period.
Pure: the caller passes in the clock (monotonic, in nanoseconds, the one that heartbeats use). It kills nothing.
Invariant: no worker is stuck that did not have a full period during which the supervisor was awake.
"""

__all__ = ["Liveness"]

from collections.abc import Callable

_NS = 1_000_000_000


class Liveness:
    """Judges heartbeats against `stuck_after_sec`; `clock` returns nanoseconds."""

    def __init__(self, stuck_after_sec: float, clock: Callable[[], int]) -> None:
        # Four checks per period, so that a late one is noticed; one a second is always often enough.
        self.judge_every_sec = min(1.0, stuck_after_sec / 4)
        # Twice the interval: a lateness below this costs a worker less than half of its period.
        self._late_ns = int(max(stuck_after_sec / 2, 2 * self.judge_every_sec) * _NS)
        self._clock = clock
        self._checked_ns = self._fresh_since_ns = clock()

    def record_check(self) -> None:
        """Records that the supervisor is awake; call it once per turn of its loop, before `is_stuck`."""
        now_ns = self._clock()
        if now_ns - self._checked_ns >= self._late_ns:
            self._fresh_since_ns = now_ns
        self._checked_ns = now_ns

    def is_stuck(self, last_beat_ns: int, started_ns: int, patience_sec: float) -> bool:
        """Returns whether a worker with this start and this last heartbeat has been silent for too long."""
        alive_ns = max(last_beat_ns, started_ns, self._fresh_since_ns)
        return self._checked_ns - alive_ns > patience_sec * _NS
