"""ServiceReport — decides what the service manager is told: readiness, status and watchdog.

READY is sent once, when every worker is running and the gateways accept mail. The watchdog is fed only while every
worker's heartbeat is fresh: a stuck worker that cannot be replaced starves it, and systemd restarts the daemon. A full
disk does not starve it, because a restart would not help. Above: the supervisor, once per loop; below: `Notifier`.
"""

__all__ = ["ServiceReport"]

import time
from collections.abc import Callable, Sequence

from mailroomd.ipc.control_page import WorkerState
from mailroomd.supervisor.child import Child
from mailroomd.supervisor.notifier import Notifier

FEED_EVERY_SEC = 5.0  # without a watchdog, this is how often the start-up timeout is extended
_EXTENSION_USEC = 30_000_000  # a start that makes progress may take as long as it needs: large database, full disk
_FEEDS_PER_PERIOD = 4  # one lost or late datagram must not matter


class ServiceReport:
    """Remembers what was sent, so that only changes are.

    Args:
        notifier: sends the notifications.
        clock: monotonic seconds.
    """

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._clock = clock
        self._is_ready = False
        self._status = ""
        self._fed_at = float("-inf")
        watchdog_sec = notifier.watchdog_sec
        self.feed_every_sec = watchdog_sec / _FEEDS_PER_PERIOD if watchdog_sec else FEED_EVERY_SEC

    def update(self, children: Sequence[Child], addresses: Sequence[str], *, all_fresh: bool) -> None:
        """Sends what has changed; feeds the watchdog when it is due and `all_fresh`: no worker is stuck."""
        if not self._notifier.is_connected:
            return
        problem = self._problem(children)
        self._send_status(f"Not accepting mail: {problem}" if problem else _serving(children, addresses))
        if not problem and not self._is_ready:
            self._is_ready = True
            self._notifier.notify(READY=1)
        if all_fresh:
            self._feed_watchdog()

    def begin_reload(self) -> None:
        """Reports that the settings are being read again."""
        self._notifier.notify(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def end_reload(self) -> None:
        """Reports the end of a reload, successful or not. A daemon that was not ready does not become so."""
        if self._is_ready:
            self._notifier.notify(READY=1)

    def begin_stop(self) -> None:
        """Reports that the daemon is stopping."""
        self._notifier.notify(STOPPING=1, STATUS="Stopping")

    def _send_status(self, status: str) -> None:
        """Sends the sentence that `systemctl status` shows, if it has changed."""
        if status != self._status:
            self._status = status
            self._notifier.notify(STATUS=status)

    def _feed_watchdog(self) -> None:
        now = self._clock()
        if now - self._fed_at < self.feed_every_sec:
            return
        self._fed_at = now
        if self._is_ready:
            self._notifier.notify(WATCHDOG=1)
        else:
            self._notifier.notify(EXTEND_TIMEOUT_USEC=_EXTENSION_USEC, WATCHDOG=1)

    @staticmethod
    def _problem(children: Sequence[Child]) -> str:
        """Returns why a send would fail now, or an empty text."""
        waiting = [f"{child.name} is {child.state}" for child in children if child.state is not WorkerState.RUNNING]
        return ", ".join(waiting) or next((child.problem for child in children if child.problem), "")


def _serving(children: Sequence[Child], addresses: Sequence[str]) -> str:
    restarts = sum(child.restarts for child in children)
    history = f" ({restarts} worker restarts so far)" if restarts else ""
    return f"Serving on {', '.join(addresses)}{history}"
