"""Incidents — what happened to the daemon itself: it was started, a worker was restarted, the loop guard refused sends.

The pages show them among the mail, at their time. In memory only, the latest ones. A restart of a worker before this
process was started is known from the worker's own status.
Invariant: each is recorded once; its id sorts among the ids of messages by its time, and is none of them.
"""

__all__ = ["Incidents"]

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mailroom.records import iso_utc
from mailroom.stats import WorkerStatus

MAX_KEPT = 100
LOOP_GUARD = "LOOP_GUARD"
LOOP_EVERY_MS = 60_000  # at most one line about the loop guard in this time
ID_MS_SHIFT = 20  # the id of a message begins with milliseconds since 1970


class Incidents:
    """The latest incidents of one daemon."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=MAX_KEPT)
        self._started_ms: dict[str, int] = {}
        self._loop_at_ms = 0
        self._count = 0

    def latest(self) -> list[dict[str, Any]]:
        """Returns the incidents, newest first: id, time, sentence, and the view that tells more."""
        return sorted(self._kept, key=lambda each: each["id"], reverse=True)

    def record_workers(self, workers: Sequence[WorkerStatus]) -> None:
        """Looks for workers that were started since the last look."""
        new_daemon_ms = 0
        for worker in workers:
            started_ms = int(worker.started_at.timestamp() * 1000) if worker.started_at else 0
            before_ms = self._started_ms.get(worker.name, 0)
            if started_ms <= before_ms:
                continue
            self._started_ms[worker.name] = started_ms
            if worker.restarts:
                how = f" ({worker.last_exit})" if worker.last_exit else ""
                self._add(started_ms, f"the worker {worker.name} was restarted{how}", "health")
            elif before_ms:
                new_daemon_ms = max(new_daemon_ms, started_ms)
        if new_daemon_ms:
            self._add(new_daemon_ms, "the daemon was started again", "health")

    def record_refusals(self, refusals: Mapping[str, int], now_ms: int) -> None:
        """Looks for sends that the loop guard has refused since the last look; the daemon does not say whose."""
        count = refusals.get(LOOP_GUARD, 0)
        if count and now_ms - self._loop_at_ms >= LOOP_EVERY_MS:
            self._loop_at_ms = now_ms
            sends = "a send" if count == 1 else f"{count} sends"
            self._add(now_ms, f"the loop guard refused {sends}: two agents answer each other too fast", "who")

    def _add(self, at_ms: int, sentence: str, view: str) -> None:
        self._count += 1
        at = iso_utc(datetime.fromtimestamp(at_ms / 1000, UTC))
        incident_id = f"{at_ms << ID_MS_SHIFT:016x}.{self._count}"
        self._kept.append({"id": incident_id, "at": at, "sentence": sentence, "view": view})
