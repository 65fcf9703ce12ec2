"""stop_in_reverse — the ordered shutdown: the last worker started is the first to stop.

Owns the time budget. Each worker is asked to stop over its control channel and may finish what it has accepted; one
that exceeds its time is killed. Nothing is restarted here: that is the supervisor's loop, which has ended.
Invariant: every child has been reaped afterwards.
"""

__all__ = ["stop_in_reverse"]

import time
from collections.abc import Sequence
from itertools import groupby
from multiprocessing import connection

from mailroomd.ipc.control_page import WorkerState
from mailroomd.observability.log import log
from mailroomd.supervisor.child import Child

# For all workers together. SIGTERM promises an end within 5 s, and the supervisor needs some of that; systemd's
# TimeoutStopSec has to be longer.
BUDGET_SEC = 4.5


def stop_in_reverse(children: Sequence[Child], budget_sec: float = BUDGET_SEC) -> None:
    """Stops and reaps all children; those of one stop group stop at the same time."""
    deadline = time.monotonic() + budget_sec
    for _, group in groupby(reversed(children), key=lambda child: child.spec.stop_group):
        _stop_group([child for child in group if child.is_started], deadline)


def _stop_group(children: Sequence[Child], deadline: float) -> None:
    for child in children:
        child.request_stop()
    patience_sec = max((child.spec.shutdown_sec for child in children), default=0.0)
    _wait_for_exits(children, min(deadline, time.monotonic() + patience_sec))
    for child in children:
        if not child.has_died():
            log.warning("worker did not stop in time, killing it", worker=child.name, pid=child.pid)
            child.kill("did not stop in time, killed")
        child.reap(WorkerState.STOPPED)


def _wait_for_exits(children: Sequence[Child], deadline: float) -> None:
    """Waits for sentinels only: the reports of a child that is stopping no longer matter."""
    while alive := [child.sentinel for child in children if not child.has_died()]:
        left_sec = deadline - time.monotonic()
        if left_sec <= 0:
            return
        connection.wait(alive, left_sec)
