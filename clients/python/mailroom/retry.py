"""Retries — decides whether to retry a failed attempt, and when.

Pure: it neither sleeps nor calls. A `Retries` lives as long as one logical call or one subscription, a `Contact` as
long as the client.
Rules: UNAVAILABLE is retried; so is CANCELLED if this client did not cancel (a stopping server may send it), and
RESOURCE_EXHAUSTED if the daemon gives a delay. Nothing else is retried. As long as no daemon has ever answered this
client, retries end after a short grace period: the daemon may be restarting, or not be installed at all.
"""

__all__ = ["Backoff", "Contact", "Retries"]

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from mailroom.addresses import Address
from mailroom.errors import Cancelled, DaemonNotRunning, MailroomError, ResourceExhausted, Unavailable

FIRST_DELAY_SEC = 0.05  # a gateway is back in about 0.2 s
LONGEST_DELAY_SEC = 2.0  # the longest wait for a daemon that is back already


@dataclass(slots=True)
class Contact:
    """What a client knows about its daemon.

    Attributes:
        address: where it is, or is expected.
        answered: whether it has ever answered.
        running_pid: the process id of a daemon that is running but could not be reached, or None.
    """

    address: Address
    answered: bool = False
    running_pid: int | None = None


class Backoff:
    """Delays that double, each shortened at random by up to half so that clients do not all return at once."""

    def __init__(self, rng: Callable[[], float] = random.random) -> None:
        self._rng = rng
        self._delay_sec = FIRST_DELAY_SEC

    def next_sec(self) -> float:
        """Returns the next delay."""
        delay_sec, self._delay_sec = self._delay_sec, min(self._delay_sec * 2, LONGEST_DELAY_SEC)
        return delay_sec * (1 - self._rng() / 2)

    def reset(self) -> None:
        """Starts again with the shortest delay."""
        self._delay_sec = FIRST_DELAY_SEC


class Retries:
    """The attempts of one call.

    Args:
        contact: shared by all calls of a client.
        grace_sec: how long to look for a daemon that has never answered.
        timeout_sec: the time for all attempts together; infinite for a subscription.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        contact: Contact,
        *,
        grace_sec: float,
        timeout_sec: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contact = contact
        self._grace_sec = grace_sec
        self._clock = clock
        self._deadline = clock() + timeout_sec
        self._unreachable_since: float | None = None
        self._backoff = Backoff()

    def remaining_sec(self) -> float:
        """Returns the rest of the timeout in seconds."""
        return max(0.0, self._deadline - self._clock())

    def record_progress(self) -> None:
        """Starts delays and grace period over, after a success."""
        self._unreachable_since = None
        self._backoff.reset()

    def delay_after(self, error: MailroomError) -> float:
        """Returns how many seconds to wait before the next attempt.

        Raises:
            MailroomError: this error, or DaemonNotRunning instead, if there is to be no further attempt.
        """
        if not self._is_retriable(error):
            raise error
        delay_sec = max(self._backoff.next_sec(), error.retry_after_sec or 0.0)
        if self._clock() + delay_sec < self._give_up_at(error):
            return delay_sec
        if _is_unreachable(error):
            raise self._not_running(error) from error
        raise error

    def _is_retriable(self, error: MailroomError) -> bool:
        if isinstance(error, ResourceExhausted):
            return error.retry_after_sec is not None
        return isinstance(error, Unavailable | Cancelled)

    def _give_up_at(self, error: MailroomError) -> float:
        if self._contact.answered or not _is_unreachable(error):
            return self._deadline
        if self._unreachable_since is None:
            self._unreachable_since = self._clock()
        return min(self._deadline, self._unreachable_since + self._grace_sec)

    def _not_running(self, error: MailroomError) -> DaemonNotRunning:
        address = self._contact.address
        cause = error.message.rsplit(": ", 1)[-1] if error.message.startswith("failed to connect") else ""
        if cause == "Socket closed" and address.socket_path is None:
            cause = "the peer closed the connection: it may require TLS (MAILROOM_TLS_CA) or a client certificate"
        pid = self._contact.running_pid
        return DaemonNotRunning(address.text, cause=cause, tried=address.tried, running_pid=pid)


def _is_unreachable(error: MailroomError) -> bool:
    """Returns whether an UNAVAILABLE comes from the local connection: the daemon itself always gives a reason."""
    return isinstance(error, Unavailable) and not error.reason
