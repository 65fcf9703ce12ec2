"""read_metrics — the daemon's current metrics, read from the control page without asking any worker.

Owns the metrics about the workers themselves (up, restarts, heartbeats), which come from their status cells and
heartbeat words. Every other metric is what a worker counted (`observability.metrics`). Above: the metrics worker,
GetMetrics.
"""

__all__ = ["read_metrics"]

import time

from mailroomd.ipc.control_page import ControlPage, WorkerState, WorkerStatus
from mailroomd.observability.exposition import Family, Reading, Sample, collect_families
from mailroomd.observability.metrics import PREFIX, Kind

_NS = 1e9


def read_metrics(control: ControlPage) -> list[Family]:
    """Returns every family of metrics; works while workers are stopped or gone, too."""
    workers = list(enumerate(control.statuses()))
    readings = [Reading(worker.name, control.metrics(index).read()) for index, worker in workers]
    return [*_workers(control, workers), *collect_families(readings)]


def _workers(control: ControlPage, workers: list[tuple[int, WorkerStatus]]) -> list[Family]:
    up = Family(f"{PREFIX}worker_up", Kind.GAUGE, "1 while the worker is running.")
    restarts = Family(f"{PREFIX}worker_restarts_total", Kind.COUNTER, "How often the worker was restarted.")
    silent = Family(f"{PREFIX}worker_silent_seconds", Kind.GAUGE, "Seconds since the worker's last heartbeat.")
    now_ns = time.monotonic_ns()
    for index, worker in workers:
        labels = (("process", worker.name),)
        up.samples.append(Sample(up.name, labels, worker.state is WorkerState.RUNNING))
        restarts.samples.append(Sample(restarts.name, labels, worker.restarts))
        silent_sec = max(0, now_ns - control.last_beat(index)) / _NS if control.last_beat(index) else 0
        silent.samples.append(Sample(silent.name, labels, silent_sec))
    daemon = control.daemon()
    started = Family(f"{PREFIX}start_time_seconds", Kind.GAUGE, "When the daemon started, in seconds since 1970.")
    started.samples.append(Sample(started.name, (("version", daemon.version),), daemon.started_at_ms / 1000))
    return [started, up, restarts, silent]
