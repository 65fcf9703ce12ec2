"""RateLimit — a token bucket: how often a client may do something.

Pure: the caller passes in the time. A request that costs more than the bucket holds passes as long as anything is left;
the debt is paid off before the next one. So a batch larger than the bucket gets through without exceeding the rate.
"""

__all__ = ["RateLimit"]

import math


class RateLimit:
    """Limits one client.

    Args:
        rate_per_sec: how much the bucket gains per second.
        burst: capacity of the bucket, which starts full.
        now_sec: monotonic seconds.
    """

    __slots__ = ("_burst", "_level", "_rate_per_sec", "_since_sec")

    def __init__(self, rate_per_sec: float, burst: float, now_sec: float) -> None:
        self._rate_per_sec = rate_per_sec
        self._burst = burst
        self._level = burst
        self._since_sec = now_sec

    def consume(self, cost: float, now_sec: float) -> int:
        """Takes `cost` out of the bucket, if anything is in it.

        Returns:
            0 if the request may pass; otherwise nothing was taken, and the milliseconds until one may pass.
        """
        self._refill(now_sec)
        if self._level > 0:
            self._level -= cost
            return 0
        return max(1, math.ceil((1 - self._level) / self._rate_per_sec * 1000))

    def is_full(self, now_sec: float) -> bool:
        """Returns whether the bucket is full again, so that its history may be forgotten."""
        self._refill(now_sec)
        return self._level >= self._burst

    def _refill(self, now_sec: float) -> None:
        if now_sec > self._since_sec:
            self._level = min(self._burst, self._level + (now_sec - self._since_sec) * self._rate_per_sec)
            self._since_sec = now_sec
