"""Patrol — a round over many directories every so often, and urgent work between two rounds, in slices.

Owns when a slice is due. A slice ends after a number of steps, so neither a million files nor ten thousand directories
stop the caller's loop for long. Not here: what a round does (`OutboxScan`, `InboxPatrol`).
Time is the caller's monotonic clock.
"""

__all__ = ["Patrol", "PatrolPace", "Slices"]

import math
from collections.abc import Callable, Generator
from itertools import islice
from typing import NamedTuple

Slices = Generator[None, None, None]  # work that can pause after each entry that it looked at


class PatrolPace(NamedTuple):
    """How often and how fast a patrol works.

    Attributes:
        round_sec: from the start of one round to the start of the next.
        slice_steps: steps in one slice.
        pause_sec: between two slices.
    """

    round_sec: float
    slice_steps: int
    pause_sec: float = 0.0


class Patrol:
    """Runs rounds and urgent work.

    Args:
        pace: how often and how fast.
        start_round: returns the work of one round.
        start_urgent: returns the urgent work; called only if there is some.
        has_urgent: whether there is urgent work.
    """

    def __init__(
        self,
        pace: PatrolPace,
        start_round: Callable[[], Slices],
        start_urgent: Callable[[], Slices],
        has_urgent: Callable[[], bool],
    ) -> None:
        self._pace = pace
        self._start_round = start_round
        self._start_urgent = start_urgent
        self._has_urgent = has_urgent
        self._work: Slices | None = None
        self._next_slice_sec = self._next_round_sec = -math.inf

    def next_due_sec(self) -> float:
        """Returns when `run_slice` has work again."""
        return self._next_slice_sec if self._work is not None or self._has_urgent() else self._next_round_sec

    def run_slice(self, now_sec: float) -> None:
        """Does one slice of the work that is due."""
        if now_sec < self._next_slice_sec:
            return
        if self._work is None:
            if self._next_round_sec <= now_sec:
                self._next_round_sec = now_sec + self._pace.round_sec
                self._work = self._start_round()
            elif self._has_urgent():
                self._work = self._start_urgent()
            else:
                return
        self._next_slice_sec = now_sec + self._pace.pause_sec
        if sum(1 for _ in islice(self._work, self._pace.slice_steps)) < self._pace.slice_steps:
            self._work = None

    def start_round_at(self, now_sec: float) -> None:
        """Makes the next round due, after the work in progress."""
        self._next_round_sec = now_sec

    def stop_work(self) -> None:
        """Drops the work in progress; its handles are closed."""
        if self._work is not None:
            self._work.close()
            self._work = None
