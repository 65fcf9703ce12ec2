"""Series — the daemon's health over time, sampled while somebody looks, and once a minute otherwise.

In memory only: a new process starts with nothing and says since when it has samples.
"""

__all__ = ["Series"]

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError

from mailroom_apps.dashboard.incidents import Incidents
from mailroom_apps.overview import Overview, Sample, compute_overview

WATCHED_SEC = 2.0
UNWATCHED_SEC = 60.0
TIMEOUT_SEC = 3.0
FAILURES = 2  # in a row, before the daemon counts as unreachable: one may only have been slow
FINE_POINTS = 1_800  # an hour at two seconds
COARSE_POINTS = 1_440  # a day at a minute
COARSE_MS = 60_000


class Series:
    """The latest samples of one daemon. `run` must run as a task.

    Args:
        client: the connection to it.
        is_watched: whether a page is open.
        incidents: is told what the samples show of restarts and refusals.
        on_change: called when `health` has changed.

    Attributes:
        health: of the daemon, "unreachable" while it does not answer.
    """

    def __init__(
        self,
        client: AsyncMailroom,
        is_watched: Callable[[], bool],
        incidents: Incidents,
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._is_watched = is_watched
        self._incidents = incidents
        self._on_change = on_change
        self._is_wanted = asyncio.Event()
        self._fine: deque[dict[str, Any]] = deque(maxlen=FINE_POINTS)
        self._coarse: deque[dict[str, Any]] = deque(maxlen=COARSE_POINTS)
        self._before: Sample | None = None
        self._latest: Overview | None = None
        self.health = "unknown"

    def sample_soon(self) -> None:
        """Has the next sample taken without the usual pause: the daemon is back."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Samples until the task is cancelled."""
        failures = 0
        while True:
            self._is_wanted.clear()
            try:
                self._add(await self._sample())
                failures = 0
            except MailroomError:
                failures += 1
                if failures >= FAILURES:
                    self._set_health("unreachable")
                self._before = None  # counters start again with a new daemon
            waited = 0.0
            while not self._is_wanted.is_set() and waited < (WATCHED_SEC if self._is_watched() else UNWATCHED_SEC):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_wanted.wait(), WATCHED_SEC)
                waited += WATCHED_SEC

    def to_dict(self) -> dict[str, Any]:
        """Returns the latest overview and all points, oldest first."""
        return {
            "health": self.health,
            "overview": self._latest.to_dict() if self._latest else None,
            "fine": list(self._fine),
            "coarse": list(self._coarse),
        }

    async def _sample(self) -> Sample:
        health, status, metrics, stats = await asyncio.gather(
            self._client.health(timeout=TIMEOUT_SEC),
            self._client.status(timeout=TIMEOUT_SEC),
            self._client.metrics(timeout=TIMEOUT_SEC),
            self._client.stats(timeout=TIMEOUT_SEC),
        )
        return Sample(time.monotonic(), health.value, status, metrics, stats)

    def _set_health(self, health: str) -> None:
        if health != self.health:
            self.health = health
            self._on_change()

    def _add(self, sample: Sample) -> None:
        self._set_health(sample.health)
        self._incidents.record_workers(sample.status.workers)
        before, self._before = self._before, sample
        if before is None:
            self._latest = compute_overview(sample, sample)
            return
        self._latest = compute_overview(before, sample)
        self._incidents.record_refusals(self._latest.refusals, int(time.time() * 1000))
        point = _point(self._latest)
        self._fine.append(point)
        if not self._coarse or point["at"] - self._coarse[-1]["at"] >= COARSE_MS:
            self._coarse.append(point)


def _point(overview: Overview) -> dict[str, Any]:
    latencies = {name: pair for name, pair in overview.milliseconds.items() if pair}
    return {
        "at": int(time.time() * 1000),
        "sends": round(overview.per_second.get("sends", 0.0), 3),
        "read": round(overview.per_second.get("read", 0.0), 3),
        "refusals": round(overview.per_second.get("refusals", 0.0), 3),
        "waiting": sum(overview.queues.values()),
        "p50": {name: pair[0] for name, pair in latencies.items()},
        "p99": {name: pair[1] for name, pair in latencies.items()},
    }
