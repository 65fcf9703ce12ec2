"""MailboxClient — the gateway's requests to the mailbox, and who waits for their answers.

Owns call numbers, waiting calls and their bounds (10,000 calls, 256 MiB, the client's deadline), the repetition of what
is unanswered when the mailbox restarted, and the flushing of what has gathered. Not here: what requests mean, whose
turn it is (`FairScheduler`).
Invariant: a call is answered exactly once: by the mailbox, by its deadline, or by the gateway's end.
"""

__all__ = ["MailboxClient", "PendingRequest"]

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar, cast

import msgspec

from mailroomd.gateway.fair_scheduler import FairScheduler, FlowKey
from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason, stopping
from mailroomd.model.limits import MAX_WAITING_BYTES, MAX_WAITING_CALLS, WAIT_WITHOUT_DEADLINE_SEC
from mailroomd.observability.log import log
from mailroomd.protocol.packets import (
    Answer,
    CallFailed,
    CountSubscribers,
    Event,
    Hello,
    MarkOffered,
    NoteSeen,
    Request,
    StoreMessage,
)

Answered = TypeVar("Answered")

SHORTLY_BEFORE = 0.1  # of the client's time is kept back, so that it hears the reason and not just a time-out
MOST_KEPT_BACK_SEC = 0.5
MOST_PATIENCE_SEC = 300.0  # half of what a gateway's own keys are kept: a repeated call is always recognised
RETRY_AFTER_MS = 500  # what a client is told while a worker restarts
CALL_BITS = 40  # of a call number; the gateway's epoch stands above, so numbers are never used twice
GATHER_SEC = 0.01  # at most, while earlier requests are unanswered: a few commits
ENOUGH = 32  # requests for a good commit: the next one can gather while that is under way
FLUSH_AGAIN_SEC = 0.005  # when the queue is full: POLLOUT comes late (a quarter of the buffer), so time helps out


class PendingRequest(NamedTuple):
    """One request to be sent.

    Attributes:
        lane: who asks.
        make: makes the request for a call number.
        weight_bytes: how much memory it holds.
    """

    lane: FlowKey
    make: Callable[[int], Request]
    weight_bytes: int = 0


class _Waiting(NamedTuple):
    """One unanswered call."""

    lane: FlowKey
    request: Request
    answer: "asyncio.Future[Answer]"
    weight_bytes: int


class MailboxClient:
    """Asks the mailbox.

    Args:
        gateway: this gateway's number.
        epoch: which start of it.
        requests: what the mailbox reads.
        events: what it writes.
        subscribers: how many live subscribers each agent has, for a mailbox that restarted.
        on_event: told each event that answers no call, and each Hello.
    """

    def __init__(
        self,
        gateway: int,
        epoch: int,
        requests: PacketQueue[Request],
        events: PacketQueue[Event],
        subscribers: Callable[[], list[tuple[str, int]]],
        on_event: Callable[[Event | Hello], None],
    ) -> None:
        self._link: Link[Event, Request] = Link(epoch, events, requests, self._unanswered)
        self._gateway = gateway
        self._next_call = epoch << CALL_BITS
        self._waiting: dict[int, _Waiting] = {}
        self._waiting_bytes = 0
        self._turns = FairScheduler(time.monotonic)
        self._subscribers = subscribers
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._flushing: asyncio.TimerHandle | None = None
        self._gone = 0
        self._all_answered = asyncio.Event()
        self._connected = asyncio.Event()
        self._events_fileno = events.reader_fileno()
        self._loop.add_reader(self._events_fileno, self._hear)

    @property
    def is_connected(self) -> bool:
        """Whether a mailbox has answered this gateway."""
        return self._link.is_established

    @property
    def backlog(self) -> int:
        """How many requests wait for room in the queue."""
        return self._link.backlog

    @property
    def waiting(self) -> int:
        """How many calls wait for an answer."""
        return len(self._waiting)

    async def wait_until_connected(self) -> None:
        """Returns when a mailbox has answered this gateway."""
        await self._connected.wait()

    def greet(self) -> None:
        """Says to the mailbox that this gateway is new."""
        self._link.send_hello()
        self._flush()  # until it is sent: the queue may be full of what the predecessor left

    def close(self) -> None:
        """Stops hearing."""
        self._loop.remove_reader(self._events_fileno)

    def request_key(self, call: int) -> str:
        """Returns the key under which a call without a client's key is recognised; it says when it may be forgotten."""
        return f"{now_ms():011x}-{self._gateway:x}-{call:x}"

    async def ask(
        self,
        one: PendingRequest,
        answer_type: type[Answered],
        time_left_sec: float | None,
    ) -> Answered:
        """Sends a request and returns its answer.

        Args:
            one: the request.
            answer_type: what answers it.
            time_left_sec: until the client's deadline, None if it has none.

        Raises:
            MailroomError: the mailbox refuses, too many calls wait, or none of them was answered in time.
        """
        call, future = self._begin(one)
        timer = self._loop.call_later(_patience_sec(time_left_sec), self._give_up, (call,))
        if len(self._waiting) == self._link.backlog == 1:
            self._flush()  # nobody to gather with
        try:
            answer = await future
        finally:
            timer.cancel()
            self._forget(call)
        if isinstance(answer, CallFailed):
            raise _refusal(answer)
        return cast("Answered", answer)

    async def ask_all(
        self, asks: Iterable[PendingRequest], answer_type: type[Answered], time_left_sec: float | None
    ) -> list[Answered | MailroomError]:
        """Sends requests and returns the answer of each, or why it has none.

        Args:
            asks: the requests.
            answer_type: what answers each of them.
            time_left_sec: until the client's deadline, None if it has none.
        """
        begun = [self._begun(one) for one in asks]
        calls = [one[0] for one in begun if not isinstance(one, MailroomError)]
        timer = self._loop.call_later(_patience_sec(time_left_sec), self._give_up, calls)
        results: list[Answered | MailroomError] = []
        try:
            for one in begun:
                answer = one if isinstance(one, MailroomError) else await one[1]
                results.append(_refusal(answer) if isinstance(answer, CallFailed) else cast("Answered", answer))
        finally:
            timer.cancel()
            for call in calls:
                self._forget(call)
        return results

    def tell(self, request: MarkOffered | NoteSeen | CountSubscribers) -> None:
        """Sends a request that is not answered; it is lost if the mailbox dies, or falls far behind."""
        if self._link.backlog < MAX_WAITING_CALLS or isinstance(request, CountSubscribers):
            self._send(request)

    async def wait_until_answered(self, timeout_sec: float) -> bool:
        """Waits until no call waits; returns whether that came about in time."""
        deadline = self._loop.time() + timeout_sec
        while self._waiting and self._loop.time() < deadline:
            self._all_answered.clear()
            try:
                await asyncio.wait_for(self._all_answered.wait(), deadline - self._loop.time())
            except TimeoutError:
                break
        return not self._waiting

    def refuse_all(self) -> None:
        """Answers every call that waits: the daemon stops. Nobody's turn comes any more."""
        error = stopping()
        for one in self._waiting.values():
            if not one.answer.done():
                one.answer.set_result(CallFailed(0, error.reason, error.sentence, error.field, error.retry_after_ms))
        self._waiting.clear()
        self._waiting_bytes = 0
        self._all_answered.set()

    def _begun(self, one: PendingRequest) -> "tuple[int, asyncio.Future[Answer]] | MailroomError":
        try:
            return self._begin(one)
        except MailroomError as error:
            return error

    def _begin(self, one: PendingRequest) -> "tuple[int, asyncio.Future[Answer]]":
        """Takes a request, and sends it when its turn comes; returns its call number, and what its answer will be.

        Raises:
            MailroomError: too many calls wait.
        """
        self._check_room(one.weight_bytes)
        call = self._next_call = self._next_call + 1
        future: asyncio.Future[Answer] = self._loop.create_future()
        request = one.make(call)
        self._waiting[call] = _Waiting(one.lane, request, future, one.weight_bytes)
        self._waiting_bytes += one.weight_bytes
        if self._turns.enter(one.lane, call):
            self._send(request)
        return call, future

    def _settle(self, call: int, answer: "Answer | None") -> None:
        """Ends a call, if it waits; whoever waits for its turn goes then.

        Args:
            answer: what its client hears; None where there is no client any more.
        """
        waiting = self._waiting.pop(call, None)
        if waiting is None:
            return
        self._waiting_bytes -= waiting.weight_bytes
        if answer is not None and not waiting.answer.done():
            waiting.answer.set_result(answer)
        for next_call in self._turns.leave(waiting.lane, call):
            self._send(self._waiting[next_call].request)
        if not self._waiting:
            self._all_answered.set()

    def _forget(self, call: int) -> None:
        """Ends a call whose client has gone, if it still waits."""
        if call in self._waiting:
            self._settle(call, None)
            self._drop_gone_calls()

    def _give_up(self, calls: Iterable[int]) -> None:
        sentence = (
            "the mail room's workers are restarting and did not answer in time: send again, with the same "
            "idempotency key it is never stored twice"
        )
        for call in calls:
            if call in self._waiting:
                self._settle(call, CallFailed(0, Reason.WORKER_RESTARTING, sentence, "", RETRY_AFTER_MS))
                self._drop_gone_calls()

    def _drop_gone_calls(self) -> None:
        """Frees what calls left in the backlog that gave up, once it is a good part of it."""
        self._gone += 1
        if self._gone * 2 > self._link.backlog > 0:
            self._gone = 0
            self._link.drop(self._is_gone)

    def _is_gone(self, request: Request) -> bool:
        """Returns whether a request wants an answer that nobody waits for any more."""
        call: int = getattr(request, "call", 0)
        return call != 0 and call not in self._waiting

    def _check_room(self, weight_bytes: int) -> None:
        if len(self._waiting) >= MAX_WAITING_CALLS or self._waiting_bytes + weight_bytes > MAX_WAITING_BYTES:
            raise MailroomError(
                Reason.TOO_MANY_WAITING,
                f"{len(self._waiting):,} calls wait already: send again a little later, or fewer at a time",
                retry_after_ms=RETRY_AFTER_MS,
            )

    def _send(self, request: Request) -> None:
        """Sends a request with all that gathers in this turn of the loop; or until what was sent before is answered.

        So one call at a time never waits, and many at a time share a packet, a turn of the mailbox and a commit.
        """
        self._link.send(request)
        gathered = self._link.backlog
        if self._flushing is None:
            are_unanswered = len(self._waiting) > gathered
            self._flushing = self._loop.call_later(GATHER_SEC if are_unanswered else 0.0, self._flush)
        elif gathered == ENOUGH:
            self._flushing.cancel()
            self._flushing = self._loop.call_later(0.0, self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = None if self._link.flush() else self._loop.call_later(FLUSH_AGAIN_SEC, self._flush)

    def _hear(self) -> None:
        events = self._link.receive()
        if self._link.is_established:
            self._connected.set()
        for event in events:
            if isinstance(event, Hello):
                log.debug("mailbox restarted", waiting=len(self._waiting))
                self._link.answer_hello(event)
                self._on_event(event)
                continue
            call = getattr(event, "call", 0)
            if not call:
                self._on_event(event)
            else:
                self._settle(call, cast("Answer", event))
        if events and (self._flushing is not None or self._link.backlog):
            self._flush()

    def _unanswered(self) -> list[Request]:
        """What a mailbox that restarted has to hear again."""
        counts: list[Request] = [CountSubscribers(agent, count) for agent, count in self._subscribers()]
        sent = [one.request for call, one in self._waiting.items() if not self._turns.is_waiting(one.lane, call)]
        return counts + list(map(_again, sent))


def _refusal(failed: CallFailed) -> MailroomError:
    return MailroomError(
        Reason(failed.reason), failed.sentence, field=failed.field, retry_after_ms=failed.retry_after_ms
    )


def _again(request: Request) -> Request:
    if isinstance(request, StoreMessage):
        return msgspec.structs.replace(request, resubmitted=True)
    return request


def _patience_sec(time_left_sec: float | None) -> float:
    if time_left_sec is None:
        return WAIT_WITHOUT_DEADLINE_SEC
    time_left_sec = min(time_left_sec, MOST_PATIENCE_SEC)
    return max(0.0, time_left_sec - min(MOST_KEPT_BACK_SEC, time_left_sec * SHORTLY_BEFORE))
