"""RateLimit — how often something may happen: a bucket that fills at a steady rate (the "token bucket").

Pure: the caller says what time it is. What costs more than is left passes as long as anything is left, and leaves a
debt that has to be paid off first: so a batch that is larger than the bucket gets through, and no more than the rate.
"""

__all__ = ["RateLimit"]

import math


class RateLimit:
    """Limits one client.

    Args:
        rate_per_sec: what flows in.
        burst: what the bucket holds; it starts full.
        now_sec: monotonic seconds.
    """

    __slots__ = ("_burst", "_level", "_rate_per_sec", "_since_sec")

    def __init__(self, rate_per_sec: float, burst: float, now_sec: float) -> None:
        self._rate_per_sec = rate_per_sec
        self._burst = burst
        self._level = burst
        self._since_sec = now_sec

    def take(self, cost: float, now_sec: float) -> int:
        """Takes so much.

        Returns:
            0 if it may pass, else the milliseconds until something may pass again; nothing was taken then.
        """
        self._fill(now_sec)
        if self._level > 0:
            self._level -= cost
            return 0
        return max(1, math.ceil((1 - self._level) / self._rate_per_sec * 1000))

    def is_full(self, now_sec: float) -> bool:
        """Returns whether the past does not matter any more."""
        self._fill(now_sec)
        return self._level >= self._burst

    def _fill(self, now_sec: float) -> None:
        if now_sec > self._since_sec:
            self._level = min(self._burst, self._level + (now_sec - self._since_sec) * self._rate_per_sec)
            self._since_sec = now_sec
