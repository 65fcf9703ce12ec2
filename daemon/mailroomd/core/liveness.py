"""Liveness — decides which workers are stuck.

A worker is stuck when its heartbeat is older than its patience. If the judge itself was late (the supervisor was
stopped and continued, or the whole machine was), the old heartbeats prove nothing and everyone gets a fresh period.
Pure: the clock is the caller's, monotonic, in nanoseconds, the same that the workers beat with. It kills nobody.
Invariant: nobody is stuck who was not given a whole period in which the judge was awake.
"""

__all__ = ["Liveness"]

from collections.abc import Callable

_NS = 1_000_000_000


class Liveness:
    """Judges heartbeats against `stuck_after_sec`; `clock` gives nanoseconds."""

    def __init__(self, stuck_after_sec: float, clock: Callable[[], int]) -> None:
        # Four judgements in a period, so that one which is late shows; one a second is often enough for anybody.
        self.judge_every_sec = min(1.0, stuck_after_sec / 4)
        # Twice the interval: a late judgement below this costs a worker less than half of its period.
        self._late_ns = int(max(stuck_after_sec / 2, 2 * self.judge_every_sec) * _NS)
        self._clock = clock
        self._judged_ns = self._fresh_since_ns = clock()

    def awake(self) -> None:
        """Notes that the judge looks, once per turn of its loop and before it asks about anybody."""
        now = self._clock()
        if now - self._judged_ns >= self._late_ns:
            self._fresh_since_ns = now
        self._judged_ns = now

    def is_stuck(self, last_beat_ns: int, started_ns: int, patience_sec: float) -> bool:
        """Returns whether a worker that was started then and beat last then has been silent for too long."""
        heard_ns = max(last_beat_ns, started_ns, self._fresh_since_ns)
        return self._judged_ns - heard_ns > patience_sec * _NS
