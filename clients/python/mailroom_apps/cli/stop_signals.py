"""StopSignals — ends a command that waits for events on Ctrl-C or SIGTERM, in order.

Python raises KeyboardInterrupt between any two steps of the main thread. Inside `threading.Condition` this leaves the
lock held, and the command hangs instead of ending. So the handler only queues the signal, and a thread closes the
client, which ends the wait.
"""

__all__ = ["StopSignals"]

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class StopSignals:
    """A context in which the first signal calls `close`; it then ends with exit code 128 plus the signal's number.

    The second signal has its usual effect. A signal that the parent has ignored, as `nohup` does, stays ignored.

    Args:
        close: ends the wait; it is called in another thread.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._received: SimpleQueue[int] = SimpleQueue()  # unlike an Event, a handler may use it at any moment
        self._number = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self._close_when_received, name="stop signals", daemon=True).start()
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._number:
            raise SystemExit(128 + self._number)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, _SIGNALS[signal.Signals(number)])
        self._number = number
        self._received.put(number)

    def _close_when_received(self) -> None:
        self._received.get()
        self._close()
