"""fence — a full memory fence, for processes that share pages without a lock.

x86 keeps stores in order by itself; ARM does not, so a reader there could see a high-water mark advance before it sees
the records below it. Python has no fence of its own, but acquiring and releasing a lock is one. The lock guards nothing
and is never held across anything.
"""

__all__ = ["fence"]

import threading

_lock = threading.Lock()


def fence() -> None:
    """Orders every load and store before it before every load and store after it."""
    with _lock:
        pass
