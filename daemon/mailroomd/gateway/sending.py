"""Sending — one message, a broadcast, a batch: from a checked draft to an operation, and to the response.

Owns the idempotency key of a request whose client gave none, and its response. Above: `rpcs`; below: `MailboxClient`.
Invariant: a refused request has reached no worker; a repeated request gets the response of the first one.
"""

__all__ = ["Sending"]

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgspec
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.host_directory import HostDirectory
from mailroomd.core.validation import check_recipient
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import delivery_to_proto, message_to_proto
from mailroomd.gateway.cooperation import LoopShare
from mailroomd.gateway.fair_scheduler import FlowKey
from mailroomd.gateway.mailbox_client import MailboxClient, Submission
from mailroomd.gateway.request_parsing import Broadcast, SendRequest
from mailroomd.gateway.status import code_of, refusals
from mailroomd.model.departure import QUEUED
from mailroomd.model.errors import MailroomError
from mailroomd.model.ids import format_id
from mailroomd.model.message import Draft, Message, pack_draft
from mailroomd.model.names import has_host
from mailroomd.model.request_digest import digest_of
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import ANSWER_SECONDS, SEND_SECONDS
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.operations import Send, Sent
from mailroomd.protocol.packets import Answer

BROADCAST_BYTES = 32 << 20  # of copies in flight at once: a fraction of what may be pending in a gateway
COPIES_PER_TURN = 32  # copies of a broadcast that are submitted before other calls get a turn


class Sending:
    """Sends messages.

    Args:
        client: sends requests to the mailbox.
        metrics: the gateway's metrics.
        hosts: the other hosts that mail may be for.
    """

    def __init__(self, client: MailboxClient, metrics: MetricsBlock, hosts: HostDirectory) -> None:
        self._client = client
        self._metrics = metrics
        self._hosts = hosts

    async def send(self, request: SendRequest, call: Call) -> pb.SendMessageResponse:
        """Sends one message; returns once it is durable and filed, or durable while its inbox file is being retried.

        Raises:
            MailroomError: nothing was stored.
        """
        prepared = self._prepare(request.draft, request.key, call, in_batch=False)
        return self._respond(prepared, await self._submit(prepared, call))

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
        share = LoopShare()

        async def send_copy(name: str, key: str) -> pb.SendMessageResponse:
            check_recipient(name)
            async with in_flight:
                await share.yield_if_due()
                prepared = self._prepare(msgspec.structs.replace(draft, recipient=name), key, call, in_batch=True)
                answer = await self._submit(prepared, call)
            return self._respond(prepared, answer)

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

    async def send_batch(
        self, request: list[SendRequest | MailroomError], call: Call, proceed: Callable[[], None]
    ) -> pb.SendMessagesResponse:
        """Sends the messages of one batch; calls `proceed` once the next batch may follow."""
        outcomes: list[PreparedSend | MailroomError] = []
        async with call.work.slot() as share:
            for send in request:
                outcomes.append(self._prepare_or_refuse(send, call))
                await share.yield_if_due()
        prepared_sends = [outcome for outcome in outcomes if isinstance(outcome, PreparedSend)]
        try:
            submissions = [prepared.submission for prepared in prepared_sends]
            answers = iter(await self._client.request_all(submissions, call.time_left_sec(), proceed))
        finally:
            for prepared in prepared_sends:
                prepared.end_span()
        results = [
            self._result_of(outcome, next(answers)) if isinstance(outcome, PreparedSend) else _to_result(outcome)
            for outcome in outcomes
        ]
        return pb.SendMessagesResponse(results=results)

    def _prepare_or_refuse(self, send: SendRequest | MailroomError, call: Call) -> "PreparedSend | MailroomError":
        if isinstance(send, MailroomError):
            return send
        try:
            return self._prepare(send.draft, send.key, call, in_batch=True)
        except MailroomError as error:
            return error.with_traceback(None)

    def _result_of(self, prepared: "PreparedSend", answer: Answer | MailroomError) -> pb.SendResult:
        return _to_result(answer if isinstance(answer, MailroomError) else self._respond(prepared, answer))

    def _prepare(self, draft: Draft, client_key: str, call: Call, *, in_batch: bool) -> "PreparedSend":
        """Returns a checked message that is ready to be submitted.

        Raises:
            MailroomError: HOST_UNKNOWN.
        """
        if has_host(draft.recipient):
            draft = msgspec.structs.replace(draft, recipient=self._hosts.local_or_known(draft.recipient))
        started_ns = time.monotonic_ns()
        span = tracing.start_span("gateway", call.traceparent()) if tracing.is_on else None
        traceparent = tracing.traceparent_of(span) if tracing.is_on else ""
        key = client_key or self._client.new_key()
        digest = digest_of(draft) if client_key else b""
        op = Send(draft.recipient, draft.sender, draft.verified, key, bool(client_key), digest)
        if log.is_debugging:
            log.debug("send requested", request=key, sender=draft.sender, recipient=draft.recipient)
        flow = FlowKey(call.caller.agent or draft.sender, in_batch)  # an agent has several names if it has sessions
        submission = Submission(op, flow, call.caller, pack_draft(draft), started_ns, traceparent)
        if in_batch:  # its response leaves content and metadata out
            draft = msgspec.structs.replace(draft, content="", metadata=b"{}")
        return PreparedSend(submission, draft, span)

    async def _submit(self, prepared: "PreparedSend", call: Call) -> Answer:
        try:
            return await self._client.request(prepared.submission, call.time_left_sec())
        finally:
            prepared.end_span()

    def _respond(self, prepared: "PreparedSend", answer: Answer) -> pb.SendMessageResponse:
        answered_ns = time.monotonic_ns()
        submission, sent = prepared.submission, cast("Sent", answer.result)
        self._metrics.observe(SEND_SECONDS.at, answered_ns - submission.asked_ns)
        self._metrics.observe(ANSWER_SECONDS.at, answered_ns - answer.resolved_ns)
        if log.is_debugging:
            log.debug("send answered", message_id=format_id(sent.id), repeated=sent.is_repeated)
        state, draft = DeliveryState(sent.state), prepared.draft
        if sent.mailbox != draft.recipient:  # an alias led it there
            draft = msgspec.structs.replace(draft, recipient=sent.mailbox)
        if sent.first_verified is not None and sent.first_verified != draft.verified:  # it repeats another caller's
            draft = msgspec.structs.replace(draft, verified=sent.first_verified)
        message = Message(sent.id, sent.timestamp_ms, state, draft)
        return pb.SendMessageResponse(
            message=message_to_proto(message, with_body=not submission.flow.in_batch),
            delivery=delivery_to_proto(
                message,
                sent.file_error,
                answer.subscribers,
                answer.recipient_seen_ms,
                sent.team_error,
                QUEUED if has_host(sent.mailbox) else None,
                self._hosts.listing(sent.mailbox, answer.recipient_seen_ms),
            ),
        )


class PreparedSend(NamedTuple):
    """A message that is ready to be submitted.

    Attributes:
        submission: its operation, and its body.
        draft: what the response needs of the message.
        span: the span that lasts until the answer; None if tracing is off.
    """

    submission: Submission
    draft: Draft
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
