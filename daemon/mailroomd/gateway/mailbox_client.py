"""MailboxClient — submits operations to the mailbox, and matches the answers to the calls that wait for them.

Owns call ids, the keys of sends without one, the pending calls and their deadlines, the resubmission of unanswered
requests when the mailbox has restarted, and the batching of requests into packets. Not here: what operations mean,
whose request goes next (`FairScheduler`), how many may be pending (`PendingCalls`).
Invariant: a call is resolved exactly once: by the mailbox, by its deadline, or by the gateway's end.
"""

__all__ = ["MailboxClient", "Submission"]

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from mailroomd.auth.caller import OWNER, Caller
from mailroomd.gateway.fair_scheduler import MAX_IN_FLIGHT_ALONE, FairScheduler, FlowKey
from mailroomd.gateway.pending_calls import RETRY_AFTER_MS, PendingCalls
from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason, stopping
from mailroomd.model.limits import MAX_WAITING_CALLS, WAIT_WITHOUT_DEADLINE_SEC
from mailroomd.observability.log import log
from mailroomd.protocol.operations import Acknowledge, Clear, MarkOffered, Refused, Send, SetAlias
from mailroomd.protocol.packets import (
    AliasesSent,
    Answer,
    CountSubscribers,
    Event,
    Hello,
    HighWaterMarkAdvanced,
    NoteSeen,
    Request,
)

DEADLINE_MARGIN = 0.1  # part of the client's time that is kept back, so that it gets a reason and not just a timeout
MAX_DEADLINE_MARGIN_SEC = 0.5
MAX_WAIT_SEC = 300.0  # half as long as a gateway's own request keys are kept: a resubmitted call is always recognized
CALL_ID_BITS = 40  # the gateway's epoch is above them, so neither a call id nor a key is used twice
MESSAGE_OVERHEAD_BYTES = 1000  # memory of a pending message beside its body
BATCH_SEC = 0.01  # longest wait for more requests while earlier ones are unanswered: a few commits
BATCH_REQUESTS = 32  # enough for an efficient commit; the next batch can gather while this one is committed
FLUSH_RETRY_SEC = 0.005  # when the queue is full: POLLOUT comes late (at a quarter of the buffer)


class Submission(NamedTuple):
    """An operation that is about to be submitted.

    Attributes:
        flow: whose it is, for the scheduler.
        caller: who makes the call.
        body: of a message: its packed draft.
        asked_ns: when the call began, on the monotonic clock.
        trace: the W3C `traceparent` of the enclosing span; "" if the call is not traced.
    """

    op: Send | Acknowledge | MarkOffered | Clear | SetAlias
    flow: FlowKey
    caller: Caller = OWNER
    body: bytes = b""
    asked_ns: int = 0
    trace: str = ""

    @property
    def weight_bytes(self) -> int:
        """How much memory it holds."""
        return len(self.body) + MESSAGE_OVERHEAD_BYTES if self.body else 0


class _Call(NamedTuple):
    """A call without an answer yet."""

    flow: FlowKey
    request: Request
    answer: "asyncio.Future[Answer]"
    weight_bytes: int
    client: str


class MailboxClient:
    """Sends requests to the mailbox.

    Args:
        gateway: this gateway's index.
        epoch: counts the starts of this gateway.
        requests: the queue that the mailbox reads.
        events: the queue that the mailbox writes.
        answers: the queue that the command-queue writes: answers that the mailbox need not pass on.
        subscriber_counts: returns each agent's number of live subscribers, for a mailbox that has restarted.
        on_event: called with each event that answers no call, and with each Hello.
    """

    def __init__(
        self,
        gateway: int,
        epoch: int,
        requests: PacketQueue[Request | CountSubscribers | NoteSeen],
        events: PacketQueue[Event],
        answers: PacketQueue[Answer],
        subscriber_counts: Callable[[], list[tuple[str, int]]],
        on_event: Callable[[Event | Hello], None],
    ) -> None:
        self._link: Link[Event, Request | CountSubscribers | NoteSeen] = Link(
            epoch, events, requests, self._unresolved_requests
        )
        self._gateway = gateway
        self._last_call_id = self._last_key = epoch << CALL_ID_BITS
        self._calls: dict[int, _Call] = {}
        self._pending = PendingCalls()
        self._scheduler = FairScheduler(time.monotonic)
        self._subscriber_counts = subscriber_counts
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._abandoned_calls = 0
        self._drained = asyncio.Event()
        self._connected = asyncio.Event()
        self._events_fileno = events.reader_fileno()
        self._loop.add_reader(self._events_fileno, self._receive_events)
        self._answers = answers
        self._answers_fileno = answers.reader_fileno()
        self._loop.add_reader(self._answers_fileno, self._receive_answers)

    @property
    def is_connected(self) -> bool:
        """Whether a mailbox has answered this gateway and told it every alias."""
        return self._connected.is_set()

    @property
    def backlog(self) -> int:
        """How many requests wait for room in the queue."""
        return self._link.backlog

    @property
    def pending_calls(self) -> int:
        """How many calls wait for an answer."""
        return len(self._calls)

    async def wait_until_connected(self) -> None:
        """Returns once a mailbox has answered this gateway and told it every alias."""
        await self._connected.wait()

    def send_hello(self) -> None:
        """Tells the mailbox that this gateway has started."""
        self._link.send_hello()
        self._flush()  # repeated until it is sent: the queue may be full of the predecessor's requests

    def close(self) -> None:
        """Stops receiving."""
        self._loop.remove_reader(self._events_fileno)
        self._loop.remove_reader(self._answers_fileno)

    def new_key(self) -> str:
        """Returns an idempotency key for a send whose client gave none; its time says when it may be forgotten."""
        self._last_key += 1
        return f"{now_ms():011x}-{self._gateway:x}-{self._last_key:x}"

    async def request(self, submission: Submission, time_left_sec: float | None) -> Answer:
        """Submits an operation and returns the answer, with the operation's result.

        Args:
            submission: the operation.
            time_left_sec: seconds until the client's deadline; None if it has none.

        Raises:
            MailroomError: the mailbox refuses, too many calls are pending, or the answer does not come in time.
        """
        call_id, future = self._submit(submission)
        timer = self._loop.call_later(_wait_sec(time_left_sec), self._time_out, (call_id,))
        if len(self._calls) == self._link.backlog == 1:
            self._flush()  # there is nothing to share a packet with
        try:
            answer = await future
        finally:
            timer.cancel()
            self._abandon(call_id)
        if isinstance(answer.result, Refused):
            raise _error_of(answer.result)
        return answer

    async def request_all(
        self,
        submissions: Iterable[Submission],
        time_left_sec: float | None,
        proceed: Callable[[], None] = lambda: None,
    ) -> list[Answer | MailroomError]:
        """Submits operations and returns, for each, its answer or the error that `request` would raise.

        Args:
            submissions: the operations.
            time_left_sec: seconds until the client's deadline; None if it has none.
            proceed: called once more may follow: all are submitted, and few enough calls wait that more need not queue.
        """
        calls = [self._submit_or_error(submission) for submission in submissions]
        if len(self._calls) == self._link.backlog:
            self._flush()  # nothing is unanswered: there is nothing to wait for
        if len(self._calls) <= MAX_IN_FLIGHT_ALONE:
            proceed()
        call_ids = [call[0] for call in calls if not isinstance(call, MailroomError)]
        timer = self._loop.call_later(_wait_sec(time_left_sec), self._time_out, call_ids)
        results: list[Answer | MailroomError] = []
        try:
            for call in calls:
                answer = call if isinstance(call, MailroomError) else await call[1]
                if isinstance(answer, Answer) and isinstance(answer.result, Refused):
                    results.append(_error_of(answer.result))
                else:
                    results.append(answer)
        finally:
            timer.cancel()
            for call_id in call_ids:
                self._abandon(call_id)
        return results

    def send_oneway(self, item: MarkOffered | NoteSeen | CountSubscribers) -> None:
        """Sends something without an answer; it is lost if the mailbox dies or falls far behind."""
        if self._link.backlog < MAX_WAITING_CALLS or isinstance(item, CountSubscribers):
            self._send(Request(0, item) if isinstance(item, MarkOffered) else item)

    async def drain(self, timeout_sec: float) -> bool:
        """Waits until no call is pending; returns whether that happened in time."""
        deadline = self._loop.time() + timeout_sec
        while self._calls and self._loop.time() < deadline:
            self._drained.clear()
            try:
                await asyncio.wait_for(self._drained.wait(), deadline - self._loop.time())
            except TimeoutError:
                break
        return not self._calls

    def refuse_pending(self) -> None:
        """Refuses every pending call, because the daemon stops. No queued request is sent any more."""
        error = stopping()
        refused = Answer(0, Refused(error.reason, error.sentence, error.field, error.retry_after_ms))
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_result(refused)
        self._calls.clear()
        self._pending = PendingCalls()
        self._drained.set()

    def _submit_or_error(self, submission: Submission) -> "tuple[int, asyncio.Future[Answer]] | MailroomError":
        try:
            return self._submit(submission)
        except MailroomError as error:
            return error

    def _submit(self, submission: Submission) -> "tuple[int, asyncio.Future[Answer]]":
        """Accepts an operation and sends it when the scheduler allows; returns its call id and its future answer.

        Raises:
            MailroomError: too many calls are pending.
        """
        op, flow, caller, body, asked_ns, trace = submission
        weight_bytes = submission.weight_bytes
        self._pending.check_room(caller, weight_bytes)
        self._last_call_id += 1
        call_id = self._last_call_id
        future: asyncio.Future[Answer] = self._loop.create_future()
        request = Request(call_id, op, body, asked_ns=asked_ns, trace=trace)
        self._calls[call_id] = _Call(flow, request, future, weight_bytes, caller.client)
        self._pending.add(caller.client, weight_bytes)
        if self._scheduler.submit(flow, call_id):
            self._send(request)
        return call_id, future

    def _resolve(self, call_id: int, answer: "Answer | None") -> None:
        """Ends a call if it is pending, and sends the requests that the scheduler releases.

        Args:
            call_id: the call.
            answer: its answer; None if its client has gone.
        """
        call = self._calls.pop(call_id, None)
        if call is None:
            return
        self._pending.remove(call.client, call.weight_bytes)
        if answer is not None and not call.answer.done():
            call.answer.set_result(answer)
        for released_id in self._scheduler.complete(call.flow, call_id):
            self._send(self._calls[released_id].request)
        if not self._calls:
            self._drained.set()

    def _abandon(self, call_id: int) -> None:
        """Ends a call whose client has gone, if it is still pending."""
        if call_id in self._calls:
            self._resolve(call_id, None)
            self._drop_abandoned_requests()

    def _time_out(self, call_ids: Iterable[int]) -> None:
        sentence = (
            "the daemon's workers are restarting and did not answer in time: retry; "
            "with the same idempotency key the message is never stored twice"
        )
        refused = Answer(0, Refused(Reason.WORKER_RESTARTING, sentence, retry_after_ms=RETRY_AFTER_MS))
        for call_id in call_ids:
            if call_id in self._calls:
                self._resolve(call_id, refused)
                self._drop_abandoned_requests()

    def _drop_abandoned_requests(self) -> None:
        """Removes the requests of abandoned calls from the backlog once they may be half of it."""
        self._abandoned_calls += 1
        if self._abandoned_calls * 2 > self._link.backlog > 0:
            self._abandoned_calls = 0
            self._link.drop(self._is_abandoned)

    def _is_abandoned(self, item: Request | CountSubscribers | NoteSeen) -> bool:
        """Returns whether no call waits for a request's answer any more."""
        return isinstance(item, Request) and item.call != 0 and item.call not in self._calls

    def _send(self, request: Request | CountSubscribers | NoteSeen) -> None:
        """Sends a request in one packet with others: those of this turn of the loop or, while earlier ones are
        unanswered, those of the next `BATCH_SEC`.

        So a single call never waits, and many share a packet, a turn of the mailbox and a commit.
        """
        self._link.send(request)
        backlog = self._link.backlog
        if self._flush_timer is None:
            has_unanswered = len(self._calls) > backlog
            self._flush_timer = self._loop.call_later(BATCH_SEC if has_unanswered else 0.0, self._flush)
        elif backlog == BATCH_REQUESTS:
            self._flush_timer.cancel()
            self._flush_timer = self._loop.call_later(0.0, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        self._flush_timer = None if self._link.flush() else self._loop.call_later(FLUSH_RETRY_SEC, self._flush)

    def _receive_events(self) -> None:
        events = self._link.receive()
        for event in events:
            if isinstance(event, Hello):
                log.debug("mailbox restarted", pending_calls=len(self._calls))
                self._link.answer_hello(event)
                if not self.is_connected:
                    self._link.send_hello()  # again: its predecessor may have died between two aliases
                self._on_event(event)
            elif isinstance(event, AliasesSent):
                self._connected.set()
            elif isinstance(event, Answer):
                self._resolve(event.call, event)
            else:
                self._on_event(event)
        if any(not isinstance(event, HighWaterMarkAdvanced) for event in events):  # an announcement answers nobody
            self._flush_gathered()

    def _receive_answers(self) -> None:
        """Resolves calls; an answer to a call of this gateway's predecessor, or one that came before, finds none."""
        for answer in self._answers.receive_items():
            self._resolve(answer.call, answer)
        self._flush_gathered()

    def _flush_gathered(self) -> None:
        """Sends the requests that have gathered while the answered ones were on their way."""
        if self._flush_timer is not None or self._link.backlog:
            self._flush()

    def _unresolved_requests(self) -> list[Request | CountSubscribers | NoteSeen]:
        """Returns what a restarted mailbox needs to receive again."""
        counts = [CountSubscribers(agent, count) for agent, count in self._subscriber_counts()]
        sent = [
            msgspec.structs.replace(call.request, is_resubmitted=True)
            for call_id, call in self._calls.items()
            if not self._scheduler.is_queued(call.flow, call_id)
        ]
        return [*counts, *sent]


def _error_of(refused: Refused) -> MailroomError:
    return MailroomError(
        Reason(refused.reason), refused.sentence, field=refused.field, retry_after_ms=refused.retry_after_ms
    )


def _wait_sec(time_left_sec: float | None) -> float:
    """Returns how long to wait for an answer: until shortly before the client's deadline."""
    if time_left_sec is None:
        return WAIT_WITHOUT_DEADLINE_SEC
    time_left_sec = min(time_left_sec, MAX_WAIT_SEC)
    return max(0.0, time_left_sec - min(MAX_DEADLINE_MARGIN_SEC, time_left_sec * DEADLINE_MARGIN))
