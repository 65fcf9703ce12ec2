"""run_worker — the common entry point of every worker, whatever its role.

Owns what must be true before a role's own code runs: the worker dies with its supervisor, is stopped only by it,
creates private files, has a name and a log, and has sent a heartbeat. It knows no role: the target is a text, imported
last, so that a worker loads only what it needs. Above: `supervisor.spawning`; below: the roles.
Invariant: a worker never outlives its supervisor, not even under SIGSTOP.
"""

__all__ = ["BLOCKED_SIGNALS", "CannotStart", "CannotStartYet", "WorkerContext", "run_worker"]

import ctypes
import gc
import importlib
import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path

from mailroom.descriptors import raise_descriptor_limit

from mailroomd.observability.log import configure_log, log
from mailroomd.observability.tracing import TracingNotInstalled, tracing
from mailroomd.worker.context import CannotStart, CannotStartYet, WorkerContext
from mailroomd.worker.shortage import EX_SHORTAGE, is_shortage
from mailroomd.worker.thread_watch import exit_with_lost_threads

BLOCKED_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""The signals that a terminal or `systemctl` sends to the whole process group. Only the supervisor stops a worker; it
spawns the worker with these signals blocked, so that none can arrive before the worker ignores them."""

_TRACED = tuple(f"mailroomd.{module}.process" for module in ("gateway", "mailbox", "command_queue"))
_PR_SET_PDEATHSIG = 1  # prctl(2)


def run_worker(context: WorkerContext, target: str, config: object) -> None:
    """Runs `target` ("module:function") with (context, config), and exits with 0 when it returns."""
    try:
        _prepare(context)
        module, _, function = target.partition(":")
        if module in _TRACED:
            tracing.configure(context.name, context.settings.trace)
        run = getattr(importlib.import_module(module), function)
        gc.freeze()  # imported objects are never garbage: keep the collector from walking them again and again
        context.report_alive()
        run(context, config)
    except TracingNotInstalled as error:
        context.report_cannot_start(str(error))
    except CannotStart as refusal:
        context.report_cannot_start(refusal.sentence, refusal.exit_code)
    except CannotStartYet as condition:
        with suppress(Exception):
            log.error("worker cannot start yet", epoch=context.epoch, error=str(condition))
        raise SystemExit(EX_SHORTAGE) from None
    except Exception as error:  # noqa: BLE001 - the outermost handler; the supervisor sees the exit code
        with suppress(Exception):  # no memory may be left for the log line, and the exit code must say so
            log.exception("worker failed", epoch=context.epoch, error=f"{type(error).__name__}: {error}")
        raise SystemExit(EX_SHORTAGE if is_shortage(error) else 1) from None
    finally:
        tracing.shutdown()


def _prepare(context: WorkerContext) -> None:
    _die_with_supervisor()
    _ignore_group_signals()
    os.umask(0o077)
    configure_log(context.name, context.settings.log_level, context.settings.log_format)
    context.beat()
    exit_with_lost_threads()
    raise_descriptor_limit()  # each connection and each large packet needs a descriptor
    Path("/proc/self/comm").write_text(context.name)  # as PR_SET_NAME; the kernel keeps 15 bytes


def _die_with_supervisor() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and os.getppid() != supervisor.pid:  # it died before the line above
        os._exit(os.EX_UNAVAILABLE)


def _ignore_group_signals() -> None:
    for signum in BLOCKED_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)
