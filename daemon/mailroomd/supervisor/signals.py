"""SignalQueue — signals as items in a queue, which the supervisor's loop drains when it is ready.

Owns the signal handlers, which only append and wake. The supervisor decides what a signal means.
"""

__all__ = ["STOP_SIGNALS", "SignalQueue"]

import os
import signal
from collections import deque
from contextlib import suppress
from multiprocessing import connection
from types import FrameType, TracebackType
from typing import Any, Self

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalQueue:
    """Collects SIGTERM, SIGINT and SIGHUP while it is entered (`with`); `fileno` is readable while one is queued."""

    def __init__(self) -> None:
        self._queued: deque[int] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for signum in _HANDLED_SIGNALS:
            self._previous_handlers[signum] = signal.signal(signum, self._enqueue)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous_handlers.items():
            signal.signal(signum, handler)
        os.close(self._wake)

    def fileno(self) -> int:
        """Returns the descriptor to wait for."""
        return self._wake

    def drain(self) -> list[int]:
        """Removes and returns all queued signals, in order."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return [self._queued.popleft() for _ in range(len(self._queued))]

    def wait_for_stop(self, timeout_sec: float) -> bool:
        """Waits for a stop signal; returns whether one is queued, and leaves it there."""
        if not STOP_SIGNALS.intersection(self._queued):
            connection.wait([self._wake], timeout_sec)
        return bool(STOP_SIGNALS.intersection(self._queued))

    def _enqueue(self, signum: int, _frame: FrameType | None) -> None:
        self._queued.append(signum)
        os.eventfd_write(self._wake, 1)
