"""ServiceReport — decides what the service manager hears of the daemon: ready, how it is, and that mail can flow.

Ready is said once, when every worker works and the gateways take mail. The watchdog is fed only while every worker's
heartbeat is fresh: a worker that is stuck and cannot be replaced starves it, and then systemd restarts the daemon. A
full disk doesn't: nothing would be better afterwards. Above: the supervisor, once in each turn; below: `Notifier`.
"""

__all__ = ["ServiceReport"]

import time
from collections.abc import Callable, Sequence

from mailroomd.ipc.control_page import WorkerState
from mailroomd.supervisor.child import Child
from mailroomd.supervisor.notifier import Notifier

FEED_EVERY_SEC = 5.0  # without a watchdog it is the start-up time that has to be extended now and then
_EXTENSION_USEC = 30_000_000  # a start that lives may take as long as it needs: a large database, a full disk
_PINGS_PER_PERIOD = 4  # one that is lost or late must not matter


class ServiceReport:
    """What has been said so far, so that only news is.

    Args:
        notifier: where to say it.
        clock: monotonic seconds.
    """

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._clock = clock
        self._is_ready = False
        self._status = ""
        self._fed_at = float("-inf")
        watchdog_sec = notifier.watchdog_sec
        self.feed_every_sec = watchdog_sec / _PINGS_PER_PERIOD if watchdog_sec else FEED_EVERY_SEC

    def look(self, children: Sequence[Child], addresses: Sequence[str], *, all_fresh: bool) -> None:
        """Says what is new; feeds the watchdog if it is time to and `all_fresh`: no worker is stuck."""
        if not self._notifier.is_connected:
            return
        trouble = self._trouble(children)
        self.tell(f"Takes no mail: {trouble}" if trouble else _taking(children, addresses))
        if not trouble and not self._is_ready:
            self._is_ready = True
            self._notifier.notify(READY=1)
        if all_fresh:
            self._feed()

    def tell(self, status: str) -> None:
        """Says how the daemon is, in a sentence for `systemctl status`, if it is not what was said last."""
        if status != self._status:
            self._status = status
            self._notifier.notify(STATUS=status)

    def reloading(self) -> None:
        """Says that the settings are being read again."""
        self._notifier.notify(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def reloaded(self) -> None:
        """Says that they have been, with success or not; a daemon that was not ready yet does not become so."""
        if self._is_ready:
            self._notifier.notify(READY=1)

    def stopping(self) -> None:
        """Says that the end has begun."""
        self._notifier.notify(STOPPING=1, STATUS="Stops")

    def _feed(self) -> None:
        now = self._clock()
        if now - self._fed_at < self.feed_every_sec:
            return
        self._fed_at = now
        if self._is_ready:
            self._notifier.notify(WATCHDOG=1)
        else:
            self._notifier.notify(EXTEND_TIMEOUT_USEC=_EXTENSION_USEC, WATCHDOG=1)

    @staticmethod
    def _trouble(children: Sequence[Child]) -> str:
        """Returns what keeps a send from working, empty if nothing does."""
        waiting = [f"{child.name} is {child.state}" for child in children if child.state is not WorkerState.RUNNING]
        return ", ".join(waiting) or next((child.trouble for child in children if child.trouble), "")


def _taking(children: Sequence[Child], addresses: Sequence[str]) -> str:
    restarts = sum(child.restarts for child in children)
    history = f" ({restarts} worker restarts so far)" if restarts else ""
    return f"Takes mail on {', '.join(addresses)}{history}"
