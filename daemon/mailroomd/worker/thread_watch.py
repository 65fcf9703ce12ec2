"""thread_watch — ends a worker that has lost one of its threads; the supervisor starts another.

A thread of a pool can die outside its work, for want of memory: what was submitted to it would never be done, while the
worker goes on beating. Not here: exceptions of the work itself, which its future reports.
"""

__all__ = ["exit_with_lost_threads"]

import logging
import os
import threading
from contextlib import suppress

from mailroomd.observability.log import log
from mailroomd.worker.shortage import EX_SHORTAGE, is_shortage


def exit_with_lost_threads() -> None:
    """Makes this process exit when a thread ends by an exception; call it before any thread is started."""
    # The standard library reports a dying thread of a pool to this logger only, as critical.
    logging.getLogger("concurrent.futures").addHandler(_ExitingHandler(logging.CRITICAL))
    threading.excepthook = lambda lost: _exit(lost.exc_value)


class _ExitingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _exit(record.exc_info[1] if record.exc_info else None)


def _exit(error: BaseException | None) -> None:
    with suppress(Exception):
        log.error("thread lost, exiting", thread=threading.current_thread().name, error=repr(error), exc_info=error)
    os._exit(EX_SHORTAGE if error is not None and is_shortage(error) else os.EX_SOFTWARE)
