"""fence — a full memory fence, for processes that share pages without a lock.

x86 keeps stores in order by itself, ARM does not: there a reader could see a mark move before it sees what the mark
covers. Python has no fence of its own; taking and releasing a lock is one, by the contract of the lock's
acquire and release (facts.md; vLLM pull request 30407). The lock guards nothing and is never held across anything.
"""

__all__ = ["fence"]

import threading

_lock = threading.Lock()


def fence() -> None:
    """InFlightCommands every load and store before it before every load and store after it."""
    with _lock:
        pass
