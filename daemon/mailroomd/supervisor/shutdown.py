"""stop_in_reverse — the ordered end: the last started is the first to go.

Owns the budget of time. Each worker is asked over its control_channel and may finish what it accepted; what does not go in its
time is killed. Nobody is restarted any more: that is the supervisor's loop, which has ended by now.
Invariant: afterwards every child has been reaped.
"""

__all__ = ["stop_in_reverse"]

import time
from collections.abc import Sequence
from itertools import groupby
from multiprocessing import connection

from mailroomd.ipc.control_page import WorkerState
from mailroomd.observability.log import log
from mailroomd.supervisor.child import Child

# For all together: SIGTERM promises 5 s, of which the supervisor needs some; systemd's TimeoutStopSec has to be more.
BUDGET_SEC = 4.5


def stop_in_reverse(children: Sequence[Child], budget_sec: float = BUDGET_SEC) -> None:
    """Stops and reaps all children, those that stop together at the same time."""
    deadline = time.monotonic() + budget_sec
    for _, group in groupby(reversed(children), key=lambda child: child.spec.stops_with):
        _stop_together([child for child in group if child.is_started], deadline)


def _stop_together(children: Sequence[Child], deadline: float) -> None:
    for child in children:
        child.ask_to_stop()
    patience_sec = max((child.spec.shutdown_sec for child in children), default=0.0)
    _wait_for_deaths(children, min(deadline, time.monotonic() + patience_sec))
    for child in children:
        if not child.has_died():
            log.warning("did not stop in time", worker=child.name, pid=child.pid)
            child.kill("did not stop in time, killed")
        child.reap(WorkerState.STOPPED)


def _wait_for_deaths(children: Sequence[Child], deadline: float) -> None:
    """Waits for sentinels only: the last words of a child that is asked to stop change nothing any more."""
    while alive := [child.sentinel for child in children if not child.has_died()]:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        connection.wait(alive, left)
