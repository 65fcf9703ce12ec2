"""descriptors — keeps connections from using up the gateway's file descriptors, and says when they are about to.

All listeners share the descriptors of the process, and gRPC reports no failed accept. So each listener gets a share of
the connections: a flood on TCP leaves the owner's Unix socket working, and leaves descriptors for the database.
"""

__all__ = ["DescriptorWatch", "connections_per_listener"]

import os
import resource
import time
from collections.abc import Callable

from mailroomd.observability.log import log

RESERVED = 96  # for everything but connections: queues, shared memory, database, packets on their way
LOG_INTERVAL_SEC = 60.0
MAX_COUNTED = 65_536  # with more descriptors than this they are not counted: it would take too long each time


def connections_per_listener(listeners: int) -> int:
    """Returns how many connections each of the listeners may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (limit - min(RESERVED, limit // 2)) // max(1, listeners))


class DescriptorWatch:
    """Logs, at intervals, that one listener may have reached its share of connections.

    Args:
        listeners: number of addresses that the gateway listens on.
        clock: monotonic seconds.
    """

    def __init__(self, listeners: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = connections_per_listener(listeners)
        self._clock = clock
        self._next_log_at = 0.0

    def check(self) -> bool:
        """Logs if the process has as many descriptors as one listener may have connections; returns whether it did."""
        if self._share > MAX_COUNTED or self._clock() < self._next_log_at:
            return False
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a tenth of the time of Path.iterdir
        if used < self._share:
            return False
        self._next_log_at = self._clock() + LOG_INTERVAL_SEC
        log.warning(
            "many connections, new ones may be refused: close some, or raise LimitNOFILE=",
            descriptors=used,
            connections_per_listener=self._share,
        )
        return True
