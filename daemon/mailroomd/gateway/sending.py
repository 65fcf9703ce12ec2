"""Sending — one message, a broadcast, a batch: from a checked draft to the response.

Owns the idempotency key of a request whose client gave none, and its response. Above: `rpcs`; below: `MailboxClient`.
Invariant: a refused request has reached no worker; a repeated request gets the response of the first one.
"""

__all__ = ["Sending"]

import asyncio
import time
from collections import Counter
from typing import Any, NamedTuple

import msgspec
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import check_recipient
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import delivery_to_proto, message_to_proto
from mailroomd.gateway.fair_scheduler import FlowKey
from mailroomd.gateway.mailbox_client import MailboxClient, PendingRequest
from mailroomd.gateway.request_parsing import Broadcast, Send
from mailroomd.gateway.status import code_of, refusals
from mailroomd.model.errors import MailroomError
from mailroomd.model.ids import format_id
from mailroomd.model.message import Draft, Message
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import ANSWER_SECONDS, SEND_SECONDS
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.packets import MessageStored, StoreMessage

BROADCAST_BYTES = 32 << 20  # of copies in flight at once: a fraction of what may be pending in a gateway
COPIES_PER_TURN = 32  # copies of a broadcast that are submitted before other calls get a turn
CALL_OVERHEAD_BYTES = 1000  # memory of a pending call beside content and metadata


class Sending:
    """Sends messages.

    Args:
        client: sends requests to the mailbox.
        metrics: the gateway's metrics.
    """

    def __init__(self, client: MailboxClient, metrics: MetricsBlock) -> None:
        self._client = client
        self._metrics = metrics

    async def send(self, request: Send, call: Call) -> pb.SendMessageResponse:
        """Sends one message; returns once it is durable and filed, or durable while its inbox file is being retried.

        Raises:
            MailroomError: nothing was stored.
        """
        stored, prepared = await self._submit(request.draft, request.key, call)
        return self._respond(prepared, stored, with_body=True)

    async def broadcast(self, request: Broadcast, call: Call) -> pb.BroadcastMessageResponse:
        """Sends an independent copy to each recipient; a failed copy does not stop the others."""
        draft = request.draft
        if isinstance(draft, MailroomError):
            return pb.BroadcastMessageResponse(results=[_to_result(draft) for _ in request.recipients])
        copies = await self._start_copies(draft, request, call)
        results = await asyncio.gather(*copies, return_exceptions=True)
        return pb.BroadcastMessageResponse(results=map(_to_result, results))

    async def _start_copies(
        self, draft: Draft, request: Broadcast, call: Call
    ) -> "list[asyncio.Task[pb.SendMessageResponse]]":
        client_key = request.key
        in_flight = asyncio.Semaphore(max(1, BROADCAST_BYTES // (request.size_bytes + 1)))

        async def send_copy(name: str, key: str) -> pb.SendMessageResponse:
            check_recipient(name)
            async with in_flight:
                copy = msgspec.structs.replace(draft, recipient=name)
                stored, prepared = await self._submit(copy, key, call, in_batch=True)
            return self._respond(prepared, stored, with_body=False)

        occurrences = Counter[str]()
        tasks: list[asyncio.Task[pb.SendMessageResponse]] = []
        try:
            for name in request.recipients:
                occurrences[name] += 1
                # a client's key cannot contain a line feed, so a copy's key never equals one
                key = f"{client_key}\n{name}\n{occurrences[name]}" if client_key else ""
                tasks.append(asyncio.create_task(send_copy(name, key)))
                if len(tasks) % COPIES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        return tasks

    async def send_batch(self, request: list[Send | MailroomError], call: Call) -> pb.SendMessagesResponse:
        """Sends the messages of one batch."""
        outcomes = [
            self._prepare(send.draft, send.key, call, in_batch=True) if isinstance(send, Send) else send
            for send in request
        ]
        prepared_sends = [outcome for outcome in outcomes if isinstance(outcome, PreparedSend)]
        try:
            pending = [prepared.pending for prepared in prepared_sends]
            answers = iter(await self._client.request_all(pending, MessageStored, call.time_left_sec()))
        finally:
            for prepared in prepared_sends:
                prepared.end_span()
        results = [
            self._result_of(outcome, next(answers)) if isinstance(outcome, PreparedSend) else _to_result(outcome)
            for outcome in outcomes
        ]
        return pb.SendMessagesResponse(results=results)

    def _result_of(self, prepared: "PreparedSend", answer: MessageStored | MailroomError) -> pb.SendResult:
        if isinstance(answer, MailroomError):
            return _to_result(answer)
        return _to_result(self._respond(prepared, answer, with_body=False))

    async def _submit(
        self, draft: Draft, client_key: str, call: Call, *, in_batch: bool = False
    ) -> "tuple[MessageStored, PreparedSend]":
        prepared = self._prepare(draft, client_key, call, in_batch=in_batch)
        try:
            return await self._client.request(prepared.pending, MessageStored, call.time_left_sec()), prepared
        finally:
            prepared.end_span()

    def _prepare(self, draft: Draft, client_key: str, call: Call, *, in_batch: bool) -> "PreparedSend":
        """Returns a checked message that is ready to be submitted."""
        started_ns = time.monotonic_ns()
        span = tracing.start_span("gateway", call.traceparent()) if tracing.is_on else None
        traceparent = tracing.traceparent_of(span) if tracing.is_on else ""

        def build(call_id: int) -> StoreMessage:
            key = client_key or self._client.request_key(call_id)
            if log.is_debugging:
                log.debug("send requested", request=key, sender=draft.sender, recipient=draft.recipient)
            return StoreMessage(
                call_id,
                key,
                bool(client_key),
                resubmitted=False,
                draft=draft,
                asked_ns=started_ns,
                trace=traceparent,
            )

        weight_bytes = len(draft.content) + len(draft.metadata) + CALL_OVERHEAD_BYTES
        pending = PendingRequest(FlowKey(draft.sender, in_batch), build, weight_bytes, call.caller)
        return PreparedSend(draft, pending, started_ns, span)

    def _respond(self, prepared: "PreparedSend", stored: MessageStored, with_body: bool) -> pb.SendMessageResponse:
        answered_ns = time.monotonic_ns()
        self._metrics.observe(SEND_SECONDS.at, answered_ns - prepared.started_ns)
        self._metrics.observe(ANSWER_SECONDS.at, answered_ns - stored.resolved_ns)
        if log.is_debugging:
            log.debug("send answered", message_id=format_id(stored.id), repeated=stored.repeated)
        state, draft = DeliveryState(stored.state), prepared.draft
        if stored.recipient:  # the mailbox behind an alias
            draft = msgspec.structs.replace(draft, recipient=stored.recipient)
        message = Message(stored.id, stored.timestamp_ms, state, draft)
        seen_ms = stored.recipient_seen_ms
        return pb.SendMessageResponse(
            message=message_to_proto(message, with_body=with_body),
            delivery=delivery_to_proto(state, stored.file_error, stored.subscribers, seen_ms, stored.team_error),
        )


class PreparedSend(NamedTuple):
    """A message that is ready to be submitted.

    Attributes:
        draft: the message.
        pending: the request to the mailbox.
        started_ns: when the send began, on the monotonic clock.
        span: the span that lasts until the answer; None if tracing is off.
    """

    draft: Draft
    pending: PendingRequest
    started_ns: int
    span: Any

    def end_span(self) -> None:
        """Ends the span, if there is one."""
        if self.span is not None:
            self.span.end()


def _to_result(outcome: pb.SendMessageResponse | BaseException) -> pb.SendResult:
    if isinstance(outcome, pb.SendMessageResponse):
        return pb.SendResult(ok=outcome)
    if isinstance(outcome, MailroomError):
        refusals.count_refusal(outcome.reason)
        code = code_of(outcome.reason).value[0]
        error = pb.SendError(code=code, reason=outcome.reason, message=outcome.sentence, field=outcome.field)
        if outcome.retry_after_ms:
            error.retry_delay.FromMilliseconds(outcome.retry_after_ms)
        return pb.SendResult(error=error)
    raise outcome
