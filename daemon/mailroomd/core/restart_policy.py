"""RestartPolicy — decides when restarting workers has become pointless.

OTP's rule: the supervisor gives up after more than `restarts` restarts within `period_sec` seconds, counted over all
workers together. Pure: the caller passes in a monotonic clock. It restarts nothing itself.
"""

__all__ = ["RestartPolicy"]

from collections import deque
from collections.abc import Callable

from mailroomd.model.settings import Intensity


class RestartPolicy:
    """Counts restarts in a sliding period; `clock` returns seconds. `intensity` may be changed at any time."""

    def __init__(self, intensity: Intensity, clock: Callable[[], float]) -> None:
        self.intensity = intensity
        self._clock = clock
        self._restarts_sec: deque[float] = deque()

    def allow_restart(self) -> bool:
        """Counts one restart, now, and returns whether it may be made; if not, give up."""
        now_sec = self._clock()
        self._restarts_sec.append(now_sec)
        while self._restarts_sec[0] <= now_sec - self.intensity.period_sec:
            self._restarts_sec.popleft()
        return len(self._restarts_sec) <= self.intensity.restarts
