"""Inbox — what an agent does with its own mail: subscribe, check, mark offered, acknowledge, clear, set an alias.

Owns nothing durable. It reads by itself (`MailReader`); changes go to the mailbox (`MailboxClient`). `AliasCache`
resolves a name to its mailboxes. Above: `rpcs`.
"""

__all__ = ["Inbox"]

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import cast

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.alias_cache import AliasCache
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import timestamp_from_ms
from mailroomd.gateway.encoding import EventEncoder
from mailroomd.gateway.fair_scheduler import FlowKey
from mailroomd.gateway.list_response import ListResponse, encode_messages, has_more
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient, Submission
from mailroomd.gateway.request_parsing import (
    Acknowledgement,
    AgentIds,
    Clearing,
    InboxCheck,
    NewAlias,
    SubscriptionStart,
)
from mailroomd.gateway.subscription import Subscription
from mailroomd.gateway.wakeups import Wakeups, topics_of
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.ids import MAX_ID, format_id
from mailroomd.model.limits import CLEAR_SLICE, MAX_PAGE_BYTES
from mailroomd.model.message import Message
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.operations import Acknowledge, Acknowledged, Clear, Cleared, MarkOffered, Result, SetAlias
from mailroomd.protocol.packets import NoteSeen

WAIT_MARGIN = 0.05  # part of the time until the call's deadline that a waiting CheckInbox keeps for its answer


class Inbox:
    """The methods on an agent's own mail.

    Args:
        reader: reads mail.
        client: sends requests to the mailbox.
        wakeups: wakes streams and waiting calls.
        aliases: resolves names.
        metrics: the gateway's metrics.
        is_stopping: returns whether the daemon is stopping.
    """

    def __init__(
        self,
        reader: MailReader,
        client: MailboxClient,
        wakeups: Wakeups,
        aliases: AliasCache,
        metrics: MetricsBlock,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._client = client
        self._wakeups = wakeups
        self._aliases = aliases
        self._metrics = metrics
        self._is_stopping = is_stopping
        self._encoder = EventEncoder()

    async def subscribe(self, request: SubscriptionStart, call: Call) -> None:
        """Streams an agent's events, from now on or after a given id, as long as the caller may read them."""
        await self._reader.catch_up()
        cursor = self._first_cursor(request)
        with ExitStack() as stack:
            stack.callback(self._wakeups.record_stream_ended)
            waiter = stack.enter_context(self._wakeups.waiter())
            if request.present:
                stack.enter_context(self._wakeups.subscriber(self._aliases.agent_of(request.agent)))
            subscription = Subscription(
                self._reader,
                self._encoder,
                self._client,
                self._wakeups,
                self._metrics,
                waiter,
                partial(self._mailboxes_to_stream, request, call),
                call.work,
                cursor,
                request.include_unread,
                request.include_receipts,
                request.observe,
                request.max_batch,
                request.preview_bytes,
                self._is_stopping,
                call.write,
            )
            await subscription.run()

    def _mailboxes_to_stream(self, request: SubscriptionStart, call: Call) -> Sequence[str] | None:
        call.check_still_allowed()  # a name that led to the caller's mailbox may lead to another agent's by now
        return None if request.all_agents else self._aliases.mailboxes_of(request.agent)

    def _first_cursor(self, request: SubscriptionStart) -> int:
        if request.after_id is None:
            return 0 if request.include_unread else self._reader.high_water_mark
        if request.after_id > self._reader.newest_id:  # from another database: new mail would count as seen
            sentence = f"after_id {format_id(request.after_id)} has not been issued yet: subscribe without it"
            raise MailroomError(Reason.AFTER_ID_INVALID, sentence, field="after_id")
        return request.after_id

    async def check_inbox(self, request: InboxCheck, call: Call) -> ListResponse:
        """Returns unread messages; if requested, waits for the first one."""
        await self._reader.catch_up()
        limit, deadline = request.limit, _wait_deadline(request.wait_sec, call)
        if not request.observe:
            self._client.send_oneway(NoteSeen(self._aliases.agent_of(request.agent)))
        with self._wakeups.waiter(topics_of(self._aliases.mailboxes_of(request.agent))) as waiter:
            while True:
                async with call.work.slot() as share:
                    page = await self._read_unread(request, limit + 1)
                    encoded = await encode_messages(page[:limit], share)
                if page or self._is_stopping() or not await waiter.wait_until(deadline):
                    break
                call.check_still_allowed()
                self._wakeups.set_topics(waiter, topics_of(self._aliases.mailboxes_of(request.agent)))
        call.check_still_allowed()
        if not request.observe:
            self._mark_offered(page[: len(encoded)])
        rest = pb.CheckInboxResponse(more=has_more(len(encoded), page, limit))
        return ListResponse(rest, "messages", encoded)

    async def _read_unread(self, request: InboxCheck, limit: int) -> Page[Message]:
        return await self._reader.read_unread(
            self._aliases.mailboxes_of(request.agent),
            limit,
            budget_bytes=MAX_PAGE_BYTES,
            unoffered_only=request.unoffered_only,
            newest_first=request.newest_first,
        )

    def _mark_offered(self, messages: list[Message]) -> None:
        offered: dict[str, list[int]] = {}
        for message in messages:
            if message.state < DeliveryState.OFFERED:
                offered.setdefault(message.draft.recipient, []).append(message.id)
        for mailbox, message_ids in offered.items():
            self._client.send_oneway(MarkOffered(mailbox, message_ids))
            self._reader.record_offered(message_ids)

    async def mark_offered(self, request: AgentIds, call: Call) -> pb.MarkOfferedResponse:
        """Records that messages were delivered to their reader by other means."""
        message_ids = request.message_ids
        for mailbox in self._aliases.mailboxes_of(request.agent) if message_ids else ():
            await self._submit(MarkOffered(mailbox, message_ids), request.agent, call)
        return pb.MarkOfferedResponse()

    async def acknowledge_messages(self, request: Acknowledgement, call: Call) -> pb.AcknowledgeMessagesResponse:
        """Marks messages read; repeating it is harmless."""
        by = self._aliases.agent_of(request.by) if request.by else ""
        if by == self._aliases.agent_of(request.agent):
            by = ""
        unknown = request.message_ids
        acknowledged: list[int] = []
        for mailbox in self._aliases.mailboxes_of(request.agent):
            if unknown:
                acknowledge = Acknowledge(mailbox, unknown, by)
                result = cast("Acknowledged", await self._submit(acknowledge, request.agent, call))
                acknowledged += result.message_ids
                unknown = result.unknown_ids
        return pb.AcknowledgeMessagesResponse(
            acknowledged_ids=map(format_id, acknowledged), unknown_ids=map(format_id, unknown)
        )

    async def clear_mailbox(self, request: Clearing, call: Call) -> pb.ClearMailboxResponse:
        """Deletes the messages that are in a mailbox now, slice by slice; messages that arrive meanwhile stay.

        The log says who wanted it before anything is deleted: afterwards nothing else would.
        """
        by = self._aliases.agent_of(request.by or request.agent)
        deleted = 0
        for mailbox in self._aliases.mailboxes_of(request.agent):
            log.info("clearing mailbox", mailbox=mailbox, by=by)
            cleared = Cleared([], MAX_ID, has_more=True)  # the first slice says where the mailbox ends now
            while cleared.has_more:
                clear = Clear(mailbox, cleared.through_id, CLEAR_SLICE)
                cleared = cast("Cleared", await self._submit(clear, request.agent, call))
                deleted += len(cleared.message_ids)
        log.info("mailbox cleared", mailbox=request.agent, by=by, deleted=deleted)
        return pb.ClearMailboxResponse(deleted=deleted)

    async def set_alias(self, request: NewAlias, call: Call) -> pb.SetAliasResponse:
        """Makes a session an alias of an agent for some time."""
        expires_ms = now_ms() + request.ttl_ms if request.ttl_ms else 0
        await self._submit(SetAlias(request.session, request.agent, expires_ms), request.agent, call)
        return pb.SetAliasResponse(expires_at=timestamp_from_ms(expires_ms) if expires_ms else None)

    async def _submit(self, op: Acknowledge | MarkOffered | Clear | SetAlias, agent: str, call: Call) -> Result:
        """Submits an operation on behalf of an agent; returns its result.

        Raises:
            MailroomError: it was refused.
        """
        submission = Submission(op, FlowKey(agent), call.caller)
        return (await self._client.request(submission, call.time_left_sec())).result


def _wait_deadline(wait_sec: float, call: Call) -> float:
    """Returns until when CheckInbox waits, on the loop's clock: as requested, but not up to the call's deadline."""
    left_sec = call.time_left_sec()
    if left_sec is not None:
        wait_sec = min(wait_sec, left_sec * (1 - WAIT_MARGIN))
    return asyncio.get_running_loop().time() + wait_sec
