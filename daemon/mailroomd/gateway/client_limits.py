"""ClientLimits — how much one client may ask of this gateway: messages a second, streams, bytes under way.

Owns what each client uses now. A client is a token, an address without one, or the owner: of whom only the streams are
counted, since the daemon is his. Several gateways count each for itself.
Not here: bounds for all clients together (`gateway.mailbox_client`). Invariant: what was taken is given back, however a call ends.
"""

__all__ = ["ClientLimits", "Limits"]

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from mailroomd.auth.caller import Caller, Role
from mailroomd.core.rate_limit import RateLimit
from mailroomd.model.errors import MailroomError, Reason

BURST_SEC = 5.0  # of the rate may come at once: agents work in bursts
STREAM_RETRY_MS = 1000
BYTES_RETRY_MS = 200
MANY_CLIENTS = 1000  # from here on the idle ones are forgotten


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds.

    Attributes:
        rate_per_sec: messages that one client may send, on average.
        streams: streams and waiting calls of one client.
        owner_streams: the same for the owner.
        in_flight_bytes: of one client's requests that are being answered.
    """

    rate_per_sec: int
    streams: int
    owner_streams: int
    in_flight_bytes: int


class _Use:
    """What one client uses now."""

    __slots__ = ("in_flight_bytes", "rate", "streams")

    def __init__(self, rate: RateLimit) -> None:
        self.rate = rate
        self.streams = 0
        self.in_flight_bytes = 0


class ClientLimits:
    """Counts for every client.

    Args:
        limits: the bounds.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    def take_messages(self, caller: Caller, number: int) -> None:
        """Counts messages that are about to be sent.

        Raises:
            MailroomError: RATE_LIMITED; nothing was counted.
        """
        if not number or caller.role is Role.OWNER:
            return
        wait_ms = self._use(caller).rate.consume(number, self._clock())
        if wait_ms:
            sentence = (
                f"this client sends more than {self._limits.rate_per_sec:,} messages a second: "
                "send again after the delay that is given"
            )
            raise MailroomError(Reason.RATE_LIMITED, sentence, retry_after_ms=wait_ms)

    @contextmanager
    def stream(self, caller: Caller) -> Generator[None]:
        """Counts a stream, or a call that waits, while the context lasts.

        Raises:
            MailroomError: TOO_MANY_STREAMS.
        """
        most = self._limits.owner_streams if caller.role is Role.OWNER else self._limits.streams
        use = self._use(caller)
        if use.streams >= most:
            sentence = f"this client has {most:,} streams open already: close some, or use one for several purposes"
            raise MailroomError(Reason.TOO_MANY_STREAMS, sentence, retry_after_ms=STREAM_RETRY_MS)
        use.streams += 1
        try:
            yield
        finally:
            use.streams -= 1

    @contextmanager
    def bytes(self, caller: Caller, size: int) -> Generator[None]:
        """Counts the bytes of a request while it is being answered.

        Raises:
            MailroomError: TOO_MANY_BYTES.
        """
        use = self._use(caller)
        if use.in_flight_bytes and use.in_flight_bytes + size > self._limits.in_flight_bytes:
            sentence = (
                f"this client has {use.in_flight_bytes:,} bytes of requests under way, "
                f"the limit is {self._limits.in_flight_bytes:,}: send fewer at a time"
            )
            raise MailroomError(Reason.TOO_MANY_BYTES, sentence, retry_after_ms=BYTES_RETRY_MS)
        use.in_flight_bytes += size
        try:
            yield
        finally:
            use.in_flight_bytes -= size

    def _use(self, caller: Caller) -> _Use:
        use = self._uses.get(caller.client)
        if use is None:
            self._forget_idle()
            rate = self._limits.rate_per_sec
            use = self._uses[caller.client] = _Use(RateLimit(rate, rate * BURST_SEC, self._clock()))
        return use

    def _forget_idle(self) -> None:
        if len(self._uses) < MANY_CLIENTS:
            return
        now = self._clock()
        for client, use in list(self._uses.items()):
            if not use.streams and not use.in_flight_bytes and use.rate.is_full(now):
                del self._uses[client]
