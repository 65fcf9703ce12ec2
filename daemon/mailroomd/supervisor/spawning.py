"""spawning — the only module that creates processes.

It always names the `spawn` context: forking with gRPC loaded deadlocks, and the default start method differs between
Python versions. It never uses a preexec_fn. Only the supervisor's main thread may call it: PR_SET_PDEATHSIG fires when
the thread that spawned the worker ends, not the process (prctl(2)).
"""

__all__ = ["WORKER_ENVIRONMENT", "SpawnProcess", "spawn_worker"]

import multiprocessing
import os
import signal
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

from mailroomd.worker.runner import BLOCKED_SIGNALS, WorkerContext, run_worker

WORKER_ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",  # workers never fork
    "GRPC_VERBOSITY": "NONE",  # gRPC's own lines would mix with ours; a failed bind has its own sentence
    # Left alone, glibc raises this threshold with the first large message, and keeps the memory of a flood.
    "MALLOC_MMAP_THRESHOLD_": "262144",
}
"""What a worker's libraries read before any of its code runs. A value that the user has set is kept."""

_SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Keeps the interpreters that multiprocessing starts with `python -c` from importing files of the current directory."""

_context = multiprocessing.get_context("spawn")


def spawn_worker(context: WorkerContext, target: str, config: object) -> SpawnProcess:
    """Starts `target` ("module:function") in its own process, and closes our copy of the worker's control channel.

    Raises:
        OSError: the system is out of processes, memory or descriptors.
    """
    process = _context.Process(target=run_worker, args=(context, target, config), name=context.name)
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.update(_SAFE_PATH)
    _leave_unusable_directory()
    # multiprocessing starts its resource tracker with the first child and then unblocks signals: do it beforehand.
    resource_tracker.ensure_running()
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        context.control_channel.close()
    return process


def _leave_unusable_directory() -> None:
    """Moves to / if the current directory was deleted or cannot be entered: a worker would fail to enter it."""
    try:
        os.chdir(os.getcwd())  # noqa: PTH109 - Path.cwd does the same
    except OSError:
        os.chdir("/")
