"""Sending — one message, a broadcast, a batch: from the contract's request to the contract's answer.

Owns the check of a request, its key, and the answer's words. Above: `MailboxService`; below: `MailboxClient`.
Invariant: a refused request has reached no worker; the answer to a repeated request is the first one's.
"""

__all__ = ["Sending"]

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

import msgspec
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.auth.caller import caller_now
from mailroomd.core.validation import check_draft, check_key
from mailroomd.gateway.conversion import delivery_of, draft_of, message_to_proto
from mailroomd.gateway.fair_scheduler import FlowKey
from mailroomd.gateway.mailbox_client import MailboxClient, PendingRequest
from mailroomd.gateway.status import code_of, refusals
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.ids import format_id
from mailroomd.model.limits import MAX_BROADCAST_RECIPIENTS, MAX_BULK_MESSAGES
from mailroomd.model.message import Draft, Message
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import ANSWER_SECONDS, SEND_SECONDS
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.packets import MessageStored, StoreMessage

BROADCAST_BYTES = 32 << 20  # of copies under way at once: a fraction of what may wait in a gateway


class Sending:
    """Sends messages.

    Args:
        calls: asks the mailbox.
        metrics: the gateway's numbers.
    """

    def __init__(self, calls: MailboxClient, metrics: MetricsBlock) -> None:
        self._calls = calls
        self._metrics = metrics

    async def send(
        self,
        request: pb.SendMessageRequest,
        time_left_sec: float | None,
        *,
        recipient: str = "",
        key: str = "",
        with_body: bool = True,
        trace: str = "",
    ) -> pb.SendMessageResponse:
        """Sends one message.

        Args:
            recipient: of this copy, for a broadcast.
            key: of this copy, for a broadcast.
            with_body: whether the answer carries content and metadata: those of a batch do not.
            trace: the client's `traceparent`.

        Raises:
            MailroomError: nothing was stored.
        """
        prepared = self._prepare(request, recipient, key, in_batch=not with_body, trace=trace)
        try:
            stored = await self._calls.ask(prepared.ask, MessageStored, time_left_sec)
        finally:
            prepared.end_span()
        return self._answer(prepared, stored, with_body)

    async def broadcast(
        self, request: pb.BroadcastMessageRequest, time_left_sec: float | None, trace: str
    ) -> pb.BroadcastMessageResponse:
        """Sends an independent copy to each recipient.

        Raises:
            MailroomError: there are too many recipients, or the message names one itself.
        """
        if request.message.recipient:
            raise MailroomError(
                Reason.OPTIONS_CONFLICT,
                "a broadcast names its recipients in `recipients` only",
                field="message.recipient",
            )
        _check_number(len(request.recipients), MAX_BROADCAST_RECIPIENTS, "recipients")
        own = request.message.idempotency_key
        turns = Counter[str]()
        at_once = asyncio.Semaphore(max(1, BROADCAST_BYTES // (request.message.ByteSize() + 1)))

        async def send_copy(name: str, turn: int) -> pb.SendMessageResponse:
            # a line feed can't be in a client's key, so a copy's key never meets one
            key = f"{own}\n{name}\n{turn}" if own else ""
            async with at_once:
                return await self.send(
                    request.message, time_left_sec, recipient=name, key=key, with_body=False, trace=trace
                )

        copies: list[Coroutine[Any, Any, pb.SendMessageResponse]] = []
        for name in request.recipients:
            turns[name] += 1
            copies.append(send_copy(name, turns[name]))
        return pb.BroadcastMessageResponse(results=await _results(copies))

    async def send_batch(
        self, request: pb.SendMessagesRequest, time_left_sec: float | None, trace: str
    ) -> pb.SendMessagesResponse:
        """Sends the messages of one batch.

        Raises:
            MailroomError: there are too many of them.
        """
        _check_number(len(request.messages), MAX_BULK_MESSAGES, "messages")
        prepared_sends = [self._prepare_or_error(one, trace) for one in request.messages]
        good = [one for one in prepared_sends if isinstance(one, PreparedSend)]
        try:
            outcomes = iter(await self._calls.ask_all([one.ask for one in good], MessageStored, time_left_sec))
        finally:
            for one in good:
                one.end_span()
        results = [
            self._result_of(one, next(outcomes)) if isinstance(one, PreparedSend) else _result(one)
            for one in prepared_sends
        ]
        return pb.SendMessagesResponse(results=results)

    def _result_of(self, prepared: "PreparedSend", outcome: MessageStored | MailroomError) -> pb.SendResult:
        if isinstance(outcome, MailroomError):
            return _result(outcome)
        return _result(self._answer(prepared, outcome, with_body=False))

    def _prepare_or_error(self, request: pb.SendMessageRequest, trace: str) -> "PreparedSend | MailroomError":
        try:
            return self._prepare(request, "", "", in_batch=True, trace=trace)
        except MailroomError as error:
            return error

    def _prepare(
        self, request: pb.SendMessageRequest, recipient: str, key: str, *, in_batch: bool, trace: str
    ) -> "PreparedSend":
        """Returns a message that is ready to be asked for.

        Raises:
            MailroomError: the request is not as it should be.
        """
        draft = draft_of(request, recipient, verified=caller_now().is_verified)
        check_draft(draft)
        check_key(request.idempotency_key)
        client_key = key or request.idempotency_key
        asked_ns = time.monotonic_ns()
        span = tracing.start_span("gateway", trace) if tracing.is_on else None
        passed_on = tracing.traceparent_of(span) if tracing.is_on else ""

        def make(call: int) -> StoreMessage:
            key = client_key or self._calls.request_key(call)
            if log.is_debugging:
                log.debug("send asked", request=key, sender=draft.sender, recipient=draft.recipient)
            return StoreMessage(
                call, key, bool(client_key), resubmitted=False, draft=draft, asked_ns=asked_ns, trace=passed_on
            )

        weight = len(draft.content) + len(draft.metadata) + 1000
        return PreparedSend(draft, PendingRequest(FlowKey(draft.sender, in_batch), make, weight), asked_ns, span)

    def _answer(self, prepared: "PreparedSend", stored: MessageStored, with_body: bool) -> pb.SendMessageResponse:
        answered_ns = time.monotonic_ns()
        self._metrics.observe(SEND_SECONDS.at, answered_ns - prepared.asked_ns)
        self._metrics.observe(ANSWER_SECONDS.at, answered_ns - stored.settled_ns)
        if log.is_debugging:
            log.debug("send answered", message_id=format_id(stored.id), repeated=stored.repeated)
        state, draft = DeliveryState(stored.state), prepared.draft
        if stored.recipient:  # an alias led it elsewhere
            draft = msgspec.structs.replace(draft, recipient=stored.recipient)
        message = Message(stored.id, stored.timestamp_ms, state, draft)
        seen_ms = stored.recipient_seen_ms
        return pb.SendMessageResponse(
            message=message_to_proto(message, with_body=with_body),
            delivery=delivery_of(state, stored.file_error, stored.subscribers, seen_ms, stored.team_error),
        )


class PreparedSend(NamedTuple):
    """A message that is about to be asked for.

    Attributes:
        asked_ns: since when, on the monotonic clock.
        span: that lasts until it is answered, where it is traced.
    """

    draft: Draft
    ask: PendingRequest
    asked_ns: int
    span: Any

    def end_span(self) -> None:
        """Ends the span, where there is one."""
        if self.span is not None:
            self.span.end()


async def _results(sends: Sequence[Coroutine[Any, Any, pb.SendMessageResponse]]) -> list[pb.SendResult]:
    return list(map(_result, await asyncio.gather(*sends, return_exceptions=True)))


def _result(outcome: pb.SendMessageResponse | BaseException) -> pb.SendResult:
    if isinstance(outcome, pb.SendMessageResponse):
        return pb.SendResult(ok=outcome)
    if isinstance(outcome, MailroomError):
        refusals.count(outcome.reason)
        code = code_of(outcome.reason).value[0]
        return pb.SendResult(error=pb.SendError(code=code, reason=outcome.reason, message=outcome.sentence))
    raise outcome


def _check_number(number: int, most: int, field: str) -> None:
    if number > most:
        raise MailroomError(
            Reason.TOO_MANY, f"{number:,} {field} in one request, {most:,} at most: use several", field=field
        )
