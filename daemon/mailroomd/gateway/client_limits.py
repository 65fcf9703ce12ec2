"""ClientLimits — bounds what one client may use of this gateway: messages a second, streams, bytes in flight.

Owns what each client uses now. A client is a token, an address without a token, or the owner. Of the owner only the
streams are counted, since the daemon is the owner's own. With several gateways, each counts for itself.
Not here: bounds for all clients together (`gateway.mailbox_client`). Invariant: usage is released however a call ends.
"""

__all__ = ["ClientLimits", "Limits"]

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from mailroomd.auth.caller import Caller, Role
from mailroomd.core.rate_limit import RateLimit
from mailroomd.model.errors import MailroomError, Reason

BURST_SEC = 5.0  # of the rate may be sent at once: agents work in bursts
STREAM_RETRY_MS = 1000
BYTES_RETRY_MS = 200
MAX_IDLE_CLIENTS = 1000  # with more clients than this, the idle ones are forgotten


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds.

    Attributes:
        rate_per_sec: messages that one client may send, on average.
        streams: streams and waiting calls of one client.
        owner_streams: streams and waiting calls of the owner.
        in_flight_bytes: bytes of one client's requests that are being handled.
    """

    rate_per_sec: int
    streams: int
    owner_streams: int
    in_flight_bytes: int


class _Usage:
    """What one client uses now."""

    __slots__ = ("in_flight_bytes", "rate", "streams")

    def __init__(self, rate: RateLimit) -> None:
        self.rate = rate
        self.streams = 0
        self.in_flight_bytes = 0


class ClientLimits:
    """Counts the usage of every client.

    Args:
        limits: the bounds.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._usage: dict[str, _Usage] = {}

    def charge_messages(self, caller: Caller, count: int) -> None:
        """Counts messages that are about to be sent.

        Raises:
            MailroomError: RATE_LIMITED; nothing was counted.
        """
        if not count or caller.role is Role.OWNER:
            return
        wait_ms = self._usage_of(caller).rate.consume(count, self._clock())
        if wait_ms:
            sentence = (
                f"this client sends more than {self._limits.rate_per_sec:,} messages a second: "
                "retry after the given delay"
            )
            raise MailroomError(Reason.RATE_LIMITED, sentence, retry_after_ms=wait_ms)

    @contextmanager
    def hold_stream(self, caller: Caller) -> Generator[None]:
        """Counts a stream, or a call that waits, while the context lasts.

        Raises:
            MailroomError: TOO_MANY_STREAMS.
        """
        limit = self._limits.owner_streams if caller.role is Role.OWNER else self._limits.streams
        usage = self._usage_of(caller)
        if usage.streams >= limit:
            sentence = f"this client already has {limit:,} open streams: close some, or share one"
            raise MailroomError(Reason.TOO_MANY_STREAMS, sentence, retry_after_ms=STREAM_RETRY_MS)
        usage.streams += 1
        try:
            yield
        finally:
            usage.streams -= 1

    @contextmanager
    def hold_bytes(self, caller: Caller, size_bytes: int) -> Generator[None]:
        """Counts the bytes of a request while it is being handled.

        Raises:
            MailroomError: TOO_MANY_BYTES.
        """
        usage = self._usage_of(caller)
        if usage.in_flight_bytes and usage.in_flight_bytes + size_bytes > self._limits.in_flight_bytes:
            sentence = (
                f"this client has {usage.in_flight_bytes:,} bytes of requests in flight, "
                f"the limit is {self._limits.in_flight_bytes:,}: send fewer requests at a time"
            )
            raise MailroomError(Reason.TOO_MANY_BYTES, sentence, retry_after_ms=BYTES_RETRY_MS)
        usage.in_flight_bytes += size_bytes
        try:
            yield
        finally:
            usage.in_flight_bytes -= size_bytes

    def _usage_of(self, caller: Caller) -> _Usage:
        usage = self._usage.get(caller.client)
        if usage is None:
            self._forget_idle_clients()
            rate = self._limits.rate_per_sec
            usage = self._usage[caller.client] = _Usage(RateLimit(rate, rate * BURST_SEC, self._clock()))
        return usage

    def _forget_idle_clients(self) -> None:
        if len(self._usage) < MAX_IDLE_CLIENTS:
            return
        now = self._clock()
        for client, usage in list(self._usage.items()):
            if not usage.streams and not usage.in_flight_bytes and usage.rate.is_full(now):
                del self._usage[client]
