"""SignalInbox — signals as items in a queue, so that the supervisor's loop takes them when it is ready.

Owns the handlers, which only append and wake. What a signal means is the supervisor's to know. Tests inject signals by
calling `receive`.
"""

__all__ = ["SignalInbox"]

import os
import signal
from collections import deque
from contextlib import suppress
from multiprocessing import connection
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})
_TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalInbox:
    """Takes SIGTERM, SIGINT and SIGHUP while it is entered (`with`); its `fileno` is readable while one waits."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _TAKEN:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._wake)

    def fileno(self) -> int:
        """Returns the descriptor to wait for."""
        return self._wake

    def receive(self, number: int) -> None:
        """Appends one signal and wakes whoever waits."""
        self._waiting.append(number)
        os.eventfd_write(self._wake, 1)

    def drain(self) -> list[int]:
        """Takes all signals that wait, in their order."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def wait_for_stop(self, timeout_sec: float) -> bool:
        """Waits, and returns whether a signal to stop is there; it stays in the inbox."""
        if not STOPPING.intersection(self._waiting):
            connection.wait([self._wake], timeout_sec)
        return bool(STOPPING.intersection(self._waiting))

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.receive(number)
