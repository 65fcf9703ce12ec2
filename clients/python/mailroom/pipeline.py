"""Pipeline — lets the concurrent sends of one client share a SendMessages stream.

What has gathered while earlier requests are unanswered travels as one batch, so that many sends share the cost of a
call. `AsyncPipeline` and `BlockingPipeline` each own one stream at a time and make single attempts, as `transport`
does; they share `Pipeline`, which is pure. A message travels alone, in a unary call, when the stream would bring it
nothing (see `invoke`), and when the stream has failed for a reason that may not concern it: so each caller gets the
error of its own message. Not here: whether to try again (`retry`), bulk sends (`bulk`).
Invariant: every attempt is resolved exactly once, with a message, an error, or the order to travel alone. Whatever
travels again carries its idempotency key, so no message is duplicated.
"""

__all__ = ["AsyncPipeline", "BlockingPipeline"]

import asyncio
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from copy import copy
from queue import Empty, SimpleQueue
from typing import TypeAlias, cast

from mailroom.bulk import BATCH_BYTES
from mailroom.calls import Call
from mailroom.conversion import whole_outcome_from
from mailroom.errors import Cancelled, MailroomError, Unavailable
from mailroom.messages import SentMessage
from mailroom.transport import (
    STREAM_IDLE_SEC,
    AsyncExchange,
    AsyncTransport,
    BlockingExchange,
    BlockingTransport,
    stream_ended,
)
from mailroom.v1 import mailroom_pb2 as pb

MAX_SHARED_MESSAGES = 128  # in a batch: half of what the daemon stores at a time for one agent, so that two overlap
MAX_BATCHES_IN_FLIGHT = 2  # one is being stored while the next one arrives; more would only split what gathers
ALONE_SEC = 1.0  # for which all sends travel alone after the daemon has refused a stream, for example TOO_MANY_STREAMS
SHARED_PART = 0.75  # of a caller's time; in the rest a call of its own learns the daemon's reason for the delay
MAX_SHARED_SEC = 10.0  # without an answer; then the stream counts as broken, although gRPC has not noticed it

Outcome: TypeAlias = SentMessage | MailroomError | None  # None: the message has to travel alone


class Attempt:
    """One caller's attempt to send a message on the stream.

    Attributes:
        request: the message, with its idempotency key.
        resolve: passes the outcome to the caller; callable from the reader of the stream.
    """

    __slots__ = ("request", "resolve")

    def __init__(self, request: pb.SendMessageRequest, resolve: Callable[[Outcome], object]) -> None:
        self.request = request
        self.resolve = resolve


class Pipeline:
    """The attempts that have gathered, and the batches in flight, oldest first.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gathered: dict[Attempt, None] = {}
        self._in_flight: deque[list[Attempt]] = deque()
        self._alone_until = -math.inf
        self._last_success = -math.inf

    @property
    def is_empty(self) -> bool:
        """Whether nothing has gathered and nothing is in flight."""
        return not self._gathered and not self._in_flight

    def accepts(self, request: pb.SendMessageRequest) -> bool:
        """Returns whether a message may share the stream.

        Mail for `agent@team` may not: its answer waits for the native team inbox, and a batch is answered as a whole.
        """
        return "@" not in request.recipient and self._clock() >= self._alone_until

    def has_recent_success(self) -> bool:
        """Returns whether another send has succeeded a moment ago, so that more are likely to follow."""
        return self._clock() - self._last_success < STREAM_IDLE_SEC

    def record_success(self) -> None:
        """Notes that a send has succeeded."""
        self._last_success = self._clock()

    def add(self, attempt: Attempt) -> None:
        """Adds an attempt behind those that have gathered."""
        self._gathered[attempt] = None

    def withdraw(self, attempt: Attempt) -> None:
        """Forgets an attempt whose caller has gone, unless it is in flight: then its outcome is dropped later."""
        self._gathered.pop(attempt, None)

    def take_batch(self) -> pb.SendMessagesRequest | None:
        """Moves what has gathered in flight and returns it as one request; None if there is nothing, or no room."""
        if not self._gathered or len(self._in_flight) >= MAX_BATCHES_IN_FLIGHT:
            return None
        batch: list[Attempt] = []
        size_bytes = 0
        for attempt in self._gathered:
            batch.append(attempt)
            size_bytes += attempt.request.ByteSize()
            if len(batch) >= MAX_SHARED_MESSAGES or size_bytes >= BATCH_BYTES:
                break
        for attempt in batch:
            del self._gathered[attempt]
        self._in_flight.append(batch)
        return pb.SendMessagesRequest(messages=[attempt.request for attempt in batch])

    def pop_oldest(self) -> list[Attempt]:
        """Removes the oldest batch in flight, which has been answered."""
        return self._in_flight.popleft()

    def pop_all(self, error: MailroomError | None) -> list[Attempt]:
        """Removes everything, because the stream has ended; after a refusal nothing may share a stream for a while."""
        if error is not None and not _is_transient(error):
            self._alone_until = self._clock() + ALONE_SEC
        attempts = [attempt for batch in self._in_flight for attempt in batch] + list(self._gathered)
        self._in_flight.clear()
        self._gathered.clear()
        return attempts


class AsyncPipeline:
    """The pipeline of `AsyncMailroom`.

    Sends are stored in the order in which they were made, unless one of them travels again or goes to a team.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._pipeline = Pipeline()
        self._stream: AsyncExchange | None = None
        self._readers: set[asyncio.Task[None]] = set()  # the loop itself holds tasks by weak references only
        self._first: Attempt | None = None  # travels alone because it is the only one; later ones wait for its answer
        self._sending = 0
        self._is_flush_due = False

    async def invoke(self, call: Call[SentMessage], timeout_sec: float) -> SentMessage:
        """Makes one attempt to send a message.

        It shares the stream with other sends that are unanswered, or were answered a moment ago. Otherwise it travels
        alone: for a single message that costs less than to open a stream.

        Raises:
            MailroomError: the typed failure, as a unary call would raise it.
        """
        deadline = time.monotonic() + timeout_sec
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        request = cast("pb.SendMessageRequest", call.request)
        attempt = Attempt(request, lambda outcome: future.done() or future.set_result(outcome))
        self._sending += 1
        try:
            outcome = await self._share(attempt, future, timeout_sec) if self._pipeline.accepts(request) else None
            if outcome is None:
                outcome = await self._transport.invoke(call, max(0.0, deadline - time.monotonic()))
        finally:
            self._sending -= 1
            if self._first is attempt:
                self._first = None
                self._send_gathered()
        if isinstance(outcome, MailroomError):
            raise outcome
        self._pipeline.record_success()
        return outcome

    async def close(self) -> None:
        """Ends the stream. The transport must be closed already, so that waiting callers get ClientClosed."""
        self._end_stream(self._stream, None)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _share(self, attempt: Attempt, future: "asyncio.Future[Outcome]", timeout_sec: float) -> Outcome:
        loop = asyncio.get_running_loop()
        self._pipeline.add(attempt)
        if not self._is_flush_due:
            self._is_flush_due = True
            loop.call_soon(self._flush)  # after everything else that is sent in this turn
        timer = loop.call_later(_shared_sec(timeout_sec), self._give_up, attempt, timeout_sec)
        try:
            return await future
        finally:
            timer.cancel()
            self._pipeline.withdraw(attempt)

    def _give_up(self, attempt: Attempt, timeout_sec: float) -> None:
        attempt.resolve(None)
        if _is_stall(timeout_sec):
            self._end_stream(self._stream, stream_ended())
            for reader in self._readers:
                reader.cancel()

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._stream is None and self._sending == 1 and not self._pipeline.has_recent_success():
            for attempt in self._pipeline.pop_all(None):
                self._first = attempt
                attempt.resolve(None)
        self._send_gathered()

    def _send_gathered(self) -> None:
        while self._first is None and (request := self._pipeline.take_batch()):
            try:
                stream = self._stream or self._open_stream()
            except MailroomError:  # raised again to each caller by its own call
                _resolve_all(self._pipeline.pop_all(None), None)
                return
            stream.send_request(request)

    def _open_stream(self) -> AsyncExchange:
        self._stream = stream = self._transport.open_bulk(self._may_end)
        reader = asyncio.create_task(self._read(stream), name="mailroom sends")
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        return stream

    async def _read(self, stream: AsyncExchange) -> None:
        error: MailroomError | None = None
        try:
            while True:
                response = await stream.receive_response()
                if self._stream is not stream:
                    return
                answered = self._pipeline.pop_oldest()
                self._send_gathered()
                _deliver(answered, response)
        except MailroomError as stream_error:
            error = stream_error
        finally:
            self._end_stream(stream, error)
            await stream.cancel()

    def _may_end(self, stream: AsyncExchange) -> bool:
        """Returns whether a stream without new requests may end, and if so, gives it up."""
        if self._stream is stream and not self._pipeline.is_empty:
            return False
        self._end_stream(stream, None)
        return True

    def _end_stream(self, stream: AsyncExchange | None, error: MailroomError | None) -> None:
        """Gives up a stream if it is still in use. Its reader cancels it."""
        if stream is not None and self._stream is stream:
            self._stream = None
            _resolve_all(self._pipeline.pop_all(error), error)


class BlockingPipeline:
    """The pipeline of `Mailroom`. Threads share it.

    A daemon thread reads the stream; it ends with the stream, a moment after the last send.
    """

    def __init__(self, transport: BlockingTransport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._pipeline = Pipeline()
        self._stream: BlockingExchange | None = None
        self._sending = 0
        self._pid = os.getpid()

    def invoke(self, call: Call[SentMessage], timeout_sec: float) -> SentMessage:
        """Makes one attempt to send a message.

        It shares the stream while other threads are sending. Otherwise it travels alone: a unary call needs no other
        thread. So does everything in a forked process, which has the stream but not its threads.

        Raises:
            MailroomError: the typed failure, as a unary call would raise it.
        """
        if os.getpid() != self._pid:
            return self._transport.invoke(call, timeout_sec)
        deadline = time.monotonic() + timeout_sec
        outcomes: SimpleQueue[Outcome] = SimpleQueue()
        attempt = Attempt(cast("pb.SendMessageRequest", call.request), outcomes.put)
        failed: list[Attempt] = []
        with self._lock:
            self._sending += 1
            if is_shared := self._sending > 1 and self._pipeline.accepts(attempt.request):
                self._pipeline.add(attempt)
                failed = self._send_gathered()
        try:
            _resolve_all(failed, None)
            outcome = self._wait(attempt, outcomes, timeout_sec) if is_shared else None
            if outcome is None:
                outcome = self._transport.invoke(call, max(0.0, deadline - time.monotonic()))
        finally:
            with self._lock:
                self._sending -= 1
        if isinstance(outcome, MailroomError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Ends the stream. The transport must be closed already, so that waiting callers get ClientClosed."""
        self._end_stream(self._stream, None)

    def _wait(self, attempt: Attempt, outcomes: "SimpleQueue[Outcome]", timeout_sec: float) -> Outcome:
        try:
            return outcomes.get(timeout=_shared_sec(timeout_sec))
        except BaseException as error:
            with self._lock:
                self._pipeline.withdraw(attempt)
            if not isinstance(error, Empty):
                raise
        if _is_stall(timeout_sec):
            self._end_stream(self._stream, stream_ended())
        return None

    def _send_gathered(self) -> list[Attempt]:
        """Sends what has gathered, under the lock; returns the attempts for which no stream could be opened."""
        while request := self._pipeline.take_batch():
            try:
                stream = self._stream or self._open_stream()
            except (MailroomError, RuntimeError):  # closed, or no further thread; each caller's own call says which
                return self._pipeline.pop_all(None)
            stream.send_request(request)
        return []

    def _open_stream(self) -> BlockingExchange:
        stream = self._transport.open_bulk(self._may_end)
        threading.Thread(target=self._read, args=(stream,), name="mailroom sends", daemon=True).start()
        self._stream = stream
        return stream

    def _read(self, stream: BlockingExchange) -> None:
        error: MailroomError | None = None
        try:
            while True:
                response = stream.receive_response()
                with self._lock:
                    if self._stream is not stream:
                        return
                    answered = self._pipeline.pop_oldest()
                    failed = self._send_gathered()
                _deliver(answered, response)
                _resolve_all(failed, None)
        except MailroomError as stream_error:
            error = stream_error
        finally:
            self._end_stream(stream, error)

    def _may_end(self, stream: BlockingExchange) -> bool:
        """Returns whether a stream without new requests may end, and if so, gives it up."""
        with self._lock:
            if self._stream is not stream:
                return True
            if self._pipeline.is_empty:
                self._stream = None
            return self._stream is None

    def _end_stream(self, stream: BlockingExchange | None, error: MailroomError | None) -> None:
        """Cancels a stream, and gives it up if it is still in use."""
        failed: list[Attempt] = []
        with self._lock:
            if stream is not None and self._stream is stream:
                self._stream = None
                failed = self._pipeline.pop_all(error)
        _resolve_all(failed, error)
        if stream is not None:
            stream.cancel()


def _deliver(answered: list[Attempt], response: pb.SendMessagesResponse) -> None:
    for attempt, result in zip(answered, response.results, strict=True):
        outcome = whole_outcome_from(attempt.request, result)
        attempt.resolve(outcome.sent or outcome.error)


def _resolve_all(attempts: list[Attempt], error: MailroomError | None) -> None:
    """Passes a transient error on to every caller, who decides on a retry; after any other error each travels alone."""
    for attempt in attempts:
        attempt.resolve(copy(error) if error is not None and _is_transient(error) else None)


def _is_transient(error: MailroomError) -> bool:
    return isinstance(error, Unavailable | Cancelled)


def _shared_sec(timeout_sec: float) -> float:
    """Returns how long an attempt waits for the stream, in seconds."""
    return min(MAX_SHARED_SEC, timeout_sec * SHARED_PART)


def _is_stall(timeout_sec: float) -> bool:
    """Returns whether an attempt that has waited in vain waited long enough to give up the stream."""
    return _shared_sec(timeout_sec) >= MAX_SHARED_SEC
