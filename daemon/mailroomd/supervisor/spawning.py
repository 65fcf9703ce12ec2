"""spawning — the one module that creates processes.

Always by the `spawn` context, named: a fork with gRPC loaded is deadly, and the default differs between Python versions
(facts.md). Never a preexec_fn. Whoever calls this from a thread that ends kills its worker: PR_SET_PDEATHSIG is about
the thread that spawned, so only the supervisor's main thread calls it.
"""

__all__ = ["WORKER_ENVIRONMENT", "SpawnProcess", "spawn_worker"]

import multiprocessing
import os
import signal
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

from mailroomd.worker.runner import HELD_BACK_SIGNALS, WorkerContext, run_worker

# What a worker's libraries read before any of its code runs: gRPC's fork handlers are of no use here, and its own log
# lines would mix with ours (a failed bind has a sentence of its own). glibc would raise its bound for blocks that go
# back to the system with the first large message, and keep a flood's memory. Whoever sets them keeps what he set.
WORKER_ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "GRPC_VERBOSITY": "NONE",
    "MALLOC_MMAP_THRESHOLD_": "262144",
}

_context = multiprocessing.get_context("spawn")


def spawn_worker(context: WorkerContext, target: str, config: object) -> SpawnProcess:
    """Starts `target` ("module:function") in a process of its own, and closes this process's copy of its control_channel end.

    Raises:
        OSError: no process, memory or descriptor to be had.
    """
    process = _context.Process(target=run_worker, args=(context, target, config), name=context.name)
    # multiprocessing starts its tracker process with the first child and then unblocks signals: let it do that now.
    resource_tracker.ensure_running()
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        context.control_channel.close()
    return process
