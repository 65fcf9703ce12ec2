"""RestartPolicy — decides when restarting has become pointless.

OTP's rule: more than `restarts` restarts within `period_sec` seconds, counted over all children together, and the
supervisor gives up. Pure: the clock is the caller's and must be monotonic. It restarts nothing itself.
"""

__all__ = ["RestartPolicy"]

from collections import deque
from collections.abc import Callable

from mailroomd.model.settings import Intensity


class RestartPolicy:
    """Counts restarts in a sliding period; `clock` gives seconds. `intensity` may be set anew at any time."""

    def __init__(self, intensity: Intensity, clock: Callable[[], float]) -> None:
        self.intensity = intensity
        self._clock = clock
        self._restarts_at: deque[float] = deque()

    def allow(self) -> bool:
        """Counts one restart, now, and returns whether it may be made; once it may not, give up."""
        now = self._clock()
        self._restarts_at.append(now)
        while self._restarts_at[0] <= now - self.intensity.period_sec:
            self._restarts_at.popleft()
        return len(self._restarts_at) <= self.intensity.restarts
