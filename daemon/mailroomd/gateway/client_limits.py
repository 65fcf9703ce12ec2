"""ClientLimits — bounds what one client may use of this gateway: messages a second, calls, streams, bytes, work.

Owns what each client uses now. A client is a token, an address without a token, or the owner. Of the owner only streams
and work are bounded, since the daemon is the owner's own. With several gateways, each counts for itself.
Not here: bounds for all clients together (`gateway.mailbox_client`). Invariant: usage is released however a call ends.
"""

__all__ = ["MAX_REQUEST_BYTES", "CallUsage", "ClientLimits", "Limits"]

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from mailroomd.auth.caller import Caller, Context, Role
from mailroomd.core.rate_limit import RateLimit
from mailroomd.gateway.cooperation import WorkSlots
from mailroomd.model.errors import MailroomError, Reason

MAX_REQUEST_BYTES = 16 << 20  # a bulk request of a thousand small messages, or a dozen of the largest
BURST_SEC = 5.0  # of the rate may be sent at once: agents work in bursts
MAX_CLIENT_CALLS = 1000  # of one client in progress beside its waiting ones: more than a second of work
MAX_ANONYMOUS_CALLS = 8  # of one address without a token: health checks, but each could be as large as a batch
CLIENT_WORK_SLOTS = 2  # one call encodes while the other waits for the disk
OWNER_WORK_SLOTS = 16  # shared by all clients of the Unix socket
OWNER_SEARCHES = 2  # likewise: half of the threads, so that agents find one free
CALL_RETRY_MS = 500
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
        in_flight_bytes: bytes of one client's requests that are being handled, and of its responses that it has not
            received yet.
    """

    rate_per_sec: int
    streams: int
    owner_streams: int
    in_flight_bytes: int


class _Usage:
    """What one client uses now."""

    __slots__ = (
        "calls",
        "max_request_streams",
        "rate",
        "receiving",
        "request_bytes",
        "request_streams",
        "response_bytes",
        "streams",
        "work",
    )

    def __init__(self, rate: RateLimit, work: WorkSlots, receiving: int) -> None:
        self.rate = rate
        self.calls = 0
        self.streams = 0
        self.request_streams = 0
        self.max_request_streams = receiving
        self.request_bytes = 0
        self.response_bytes = 0
        self.work = work
        self.receiving = asyncio.Semaphore(receiving)

    @property
    def is_idle(self) -> bool:
        return not (self.calls or self.streams or self.request_bytes or self.response_bytes)


class CallUsage:
    """What one call uses until its response has left the gateway."""

    __slots__ = ("_response_bytes", "_usage")

    def __init__(self, usage: _Usage) -> None:
        self._usage = usage
        self._response_bytes = 0
        usage.calls += 1

    def add_response(self, size_bytes: int) -> None:
        """Counts the bytes of the call's response."""
        self._response_bytes += size_bytes
        self._usage.response_bytes += size_bytes

    def release(self, _: Context) -> None:
        """Ends the call's usage, as a done callback of its context."""
        self._usage.calls -= 1
        self._usage.response_bytes -= self._response_bytes


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

    def begin_call(self, caller: Caller) -> CallUsage:
        """Counts a call that is not a stream; release its usage when the response has left the gateway.

        Raises:
            MailroomError: TOO_MANY_WAITING or TOO_MANY_BYTES.
        """
        usage = self._usage_of(caller)
        if caller.role is not Role.OWNER:
            is_anonymous = caller.role is Role.ANONYMOUS
            if usage.calls >= (MAX_ANONYMOUS_CALLS if is_anonymous else MAX_CLIENT_CALLS + self._limits.streams):
                sentence = f"this client already has {usage.calls:,} calls in progress: make fewer at a time"
                raise MailroomError(Reason.TOO_MANY_WAITING, sentence, retry_after_ms=CALL_RETRY_MS)
            if usage.response_bytes > self._limits.in_flight_bytes:
                sentence = f"this client has not received {usage.response_bytes:,} bytes of responses yet: read them"
                raise MailroomError(Reason.TOO_MANY_BYTES, sentence, retry_after_ms=BYTES_RETRY_MS)
        return CallUsage(usage)

    def receiving(self, caller: Caller) -> asyncio.Semaphore:
        """Returns what a client's call holds while its request is received.

        How large a request is shows only afterwards, so this bounds the memory of requests that are not counted yet.
        """
        return self._usage_of(caller).receiving

    def work(self, caller: Caller) -> WorkSlots:
        """Returns the work slots of a client."""
        return self._usage_of(caller).work

    def charge_messages(self, caller: Caller, count: int) -> None:
        """Counts messages that are about to be sent, large ones for several.

        Raises:
            MailroomError: RATE_LIMITED; nothing was counted.
        """
        if not count or caller.role is Role.OWNER:
            return
        wait_ms = self._usage_of(caller).rate.consume(count, self._clock())
        if wait_ms:
            sentence = (
                f"this client sends more than {self._limits.rate_per_sec:,} messages a second, and each 16 KiB of a "
                "message count as one more: retry after the given delay"
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
    def hold_request_stream(self, caller: Caller) -> Generator[None]:
        """Counts a stream of requests while the context lasts.

        Each may bring a request of the largest size at any moment, so there are as many as calls that `receiving` lets
        receive at a time.

        Raises:
            MailroomError: TOO_MANY_STREAMS.
        """
        usage = self._usage_of(caller)
        limit = usage.max_request_streams
        if usage.request_streams >= limit:
            sentence = f"this client already has {limit:,} open streams of requests: share one, or send messages singly"
            raise MailroomError(Reason.TOO_MANY_STREAMS, sentence, retry_after_ms=STREAM_RETRY_MS)
        with self.hold_stream(caller):
            usage.request_streams += 1
            try:
                yield
            finally:
                usage.request_streams -= 1

    @contextmanager
    def hold_bytes(self, caller: Caller, size_bytes: int) -> Generator[None]:
        """Counts the bytes of a request while it is being handled.

        Raises:
            MailroomError: TOO_MANY_BYTES.
        """
        usage = self._usage_of(caller)
        if usage.request_bytes and usage.request_bytes + size_bytes > self._limits.in_flight_bytes:
            sentence = (
                f"this client has {usage.request_bytes:,} bytes of requests in flight "
                f"(limit {self._limits.in_flight_bytes:,}): send fewer requests at a time"
            )
            raise MailroomError(Reason.TOO_MANY_BYTES, sentence, retry_after_ms=BYTES_RETRY_MS)
        usage.request_bytes += size_bytes
        try:
            yield
        finally:
            usage.request_bytes -= size_bytes

    def _usage_of(self, caller: Caller) -> _Usage:
        usage = self._usage.get(caller.client)
        if usage is None:
            self._forget_idle_clients()
            usage = self._usage[caller.client] = self._new_usage(caller.role)
        return usage

    def _new_usage(self, role: Role) -> _Usage:
        per_sec = self._limits.rate_per_sec
        rate = RateLimit(per_sec, per_sec * BURST_SEC, self._clock())
        if role is Role.OWNER:
            return _Usage(rate, WorkSlots(OWNER_WORK_SLOTS, OWNER_SEARCHES), MAX_CLIENT_CALLS)
        receiving = 2 if role is Role.ANONYMOUS else max(1, self._limits.in_flight_bytes // MAX_REQUEST_BYTES)
        return _Usage(rate, WorkSlots(CLIENT_WORK_SLOTS), receiving)

    def _forget_idle_clients(self) -> None:
        if len(self._usage) < MAX_IDLE_CLIENTS:
            return
        now = self._clock()
        for client, usage in list(self._usage.items()):
            if usage.is_idle and usage.rate.is_full(now):
                del self._usage[client]
