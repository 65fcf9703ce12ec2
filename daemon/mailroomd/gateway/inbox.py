"""Inbox — what an agent does with its mail: subscribe, check, mark offered, acknowledge, clear, and set an alias.

Owns nothing that lasts. It reads by itself (`MailReader`) and asks the mailbox for what changes something (`MailboxClient`). A
name stands for the mailboxes that `Names` says. Above: `MailboxService`.
"""

__all__ = ["Inbox"]

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import check_agent, check_session, parse_message_id
from mailroomd.gateway.conversion import duration_ms, timestamp
from mailroomd.gateway.encoding import EventEncoder
from mailroomd.gateway.fair_scheduler import FlowKey
from mailroomd.gateway.handlers import Context
from mailroomd.gateway.mail_reader import MailReader
from mailroomd.gateway.mailbox_client import MailboxClient, PendingRequest
from mailroomd.gateway.names import Names
from mailroomd.gateway.request_guard import Write
from mailroomd.gateway.requests import bounded, fitting, has_more, message_ids, time_left
from mailroomd.gateway.subscription import Subscription
from mailroomd.gateway.wakeups import Wakeups, causes
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.ids import MAX_ID, format_id
from mailroomd.model.limits import (
    CHECK_DEFAULT_LIMIT,
    CHECK_MAX_LIMIT,
    CLEAR_SLICE,
    DEFAULT_ALIAS_TTL_MS,
    MAX_PAGE_BYTES,
    MAX_TTL_MS,
)
from mailroomd.model.message import Message
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState
from mailroomd.observability.metrics_block import MetricsBlock
from mailroomd.protocol.packets import (
    AliasSet,
    ClearMailbox,
    MailCleared,
    MarkOffered,
    MarkRead,
    MessagesOffered,
    MessagesRead,
    NoteSeen,
    Request,
    SetAlias,
)

Answered = TypeVar("Answered")


class Inbox:
    """The methods of an agent's own mail.

    Args:
        reader: reads it.
        calls: asks the mailbox.
        wakeups: wake streams and waiting calls.
        names: says which mailboxes a name stands for.
        metrics: the gateway's numbers.
        is_stopping: says whether the daemon stops.
    """

    def __init__(
        self,
        reader: MailReader,
        calls: MailboxClient,
        wakeups: Wakeups,
        names: Names,
        metrics: MetricsBlock,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._calls = calls
        self._wakeups = wakeups
        self._names = names
        self._metrics = metrics
        self._is_stopping = is_stopping
        self._encoder = EventEncoder()

    async def subscribe(self, request: pb.SubscribeRequest, write: Write) -> None:
        """Streams what reaches an agent, from now on or from a message on."""
        observe = request.observe or request.all_agents
        cursor = self._first_cursor(request)
        with ExitStack() as presence:
            presence.callback(self._wakeups.note_stream_ended)
            bell = presence.enter_context(self._wakeups.hung(frozenset()))
            if not observe:
                presence.enter_context(self._wakeups.subscriber(self._names.agent_of(request.agent)))
            stream = Subscription(
                self._reader,
                self._encoder,
                self._calls,
                self._wakeups,
                self._metrics,
                bell,
                lambda: None if request.all_agents else self._names.mailboxes_of(request.agent),
                cursor,
                request.include_unread,
                request.include_receipts or request.all_agents,
                observe,
                self._is_stopping,
                write,
            )
            await stream.run()

    def _first_cursor(self, request: pb.SubscribeRequest) -> int:
        if request.all_agents and (request.agent or request.include_unread):
            raise MailroomError(
                Reason.OPTIONS_CONFLICT, "all_agents goes with neither agent nor include_unread", field="all_agents"
            )
        if request.after_id and request.include_unread:
            raise MailroomError(
                Reason.OPTIONS_CONFLICT, "after_id and include_unread exclude each other: give one", field="after_id"
            )
        if not request.all_agents:
            check_agent(request.agent)
        if request.after_id:
            after = parse_message_id(request.after_id, "after_id", Reason.AFTER_ID_INVALID)
            return min(after, self._reader.mark)  # behind an id that was never given it would be deaf for ever
        return 0 if request.include_unread else self._reader.mark

    async def check_inbox(self, request: pb.CheckInboxRequest, context: Context) -> pb.CheckInboxResponse:
        """Returns unread messages; waits for the first one where that is asked for."""
        check_agent(request.agent)
        limit = bounded(request.limit, CHECK_DEFAULT_LIMIT, CHECK_MAX_LIMIT, "limit")
        until = _deadline(request, context)
        if not request.observe:
            self._calls.tell(NoteSeen(self._names.agent_of(request.agent)))
        with self._wakeups.hung(causes(self._names.mailboxes_of(request.agent))) as bell:
            while not (found := await self._unread(request, limit + 1)):
                if self._is_stopping() or not await bell.rings_before(until):
                    break
                self._wakeups.hang(bell, causes(self._names.mailboxes_of(request.agent)))
        kept = fitting(found[:limit])
        if not request.observe:
            self._note_handed_over(found[: len(kept)])
        return pb.CheckInboxResponse(messages=kept, more=has_more(kept, found, limit))

    async def _unread(self, request: pb.CheckInboxRequest, limit: int) -> Page[Message]:
        return await self._reader.unread(
            self._names.mailboxes_of(request.agent),
            limit,
            budget_bytes=MAX_PAGE_BYTES,
            unoffered_only=request.unoffered_only,
            newest_first=request.newest_first,
        )

    def _note_handed_over(self, messages: list[Message]) -> None:
        handed_over: dict[str, list[int]] = {}
        for one in messages:
            if one.state < DeliveryState.OFFERED:
                handed_over.setdefault(one.draft.recipient, []).append(one.id)
        for mailbox, numbers in handed_over.items():
            self._calls.tell(MarkOffered(0, mailbox, numbers))
            self._reader.note_offered(numbers)

    async def mark_offered(self, request: pb.MarkOfferedRequest, context: Context) -> pb.MarkOfferedResponse:
        """Records that messages were handed over by other means."""
        check_agent(request.agent)
        numbers = message_ids(request.message_ids)
        for mailbox in self._names.mailboxes_of(request.agent) if numbers else ():
            await self._ask(request.agent, MessagesOffered, context, MarkOffered, mailbox, numbers)
        return pb.MarkOfferedResponse()

    async def acknowledge_messages(
        self, request: pb.AcknowledgeMessagesRequest, context: Context
    ) -> pb.AcknowledgeMessagesResponse:
        """Marks messages read; repeating it is harmless."""
        check_agent(request.agent)
        left = message_ids(request.message_ids)
        acknowledged: list[int] = []
        for mailbox in self._names.mailboxes_of(request.agent):
            if left:
                done = await self._ask(request.agent, MessagesRead, context, MarkRead, mailbox, left)
                acknowledged += done.acknowledged
                left = done.unknown
        return pb.AcknowledgeMessagesResponse(
            acknowledged_ids=map(format_id, acknowledged), unknown_ids=map(format_id, left)
        )

    async def clear_mailbox(self, request: pb.ClearMailboxRequest, context: Context) -> pb.ClearMailboxResponse:
        """Deletes what is in a mailbox now, slice by slice; what comes in meanwhile stays."""
        check_agent(request.agent)
        deleted = 0
        for mailbox in self._names.mailboxes_of(request.agent):
            through_id = MAX_ID  # the mailbox makes its own last id of it
            while True:
                done = await self._ask(
                    request.agent, MailCleared, context, ClearMailbox, mailbox, through_id, CLEAR_SLICE
                )
                deleted += done.deleted
                through_id = min(through_id, done.through_id)
                if not done.more:
                    break
        return pb.ClearMailboxResponse(deleted=deleted)

    async def set_alias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        """Says which agent is behind a session, for a while."""
        check_agent(request.agent)
        check_session(request.session)
        if request.agent == request.session:
            raise MailroomError(
                Reason.OPTIONS_CONFLICT, "an agent needs no alias to itself: name another session", field="session"
            )
        ttl_ms = duration_ms(request.ttl, Reason.TTL_INVALID, "ttl") if request.HasField("ttl") else None
        ttl_ms = DEFAULT_ALIAS_TTL_MS if ttl_ms is None else ttl_ms
        if ttl_ms > MAX_TTL_MS:
            raise MailroomError(Reason.TTL_INVALID, "ttl is ten years at most; zero ends the alias", field="ttl")
        expires_ms = now_ms() + ttl_ms if ttl_ms else 0
        await self._ask(request.agent, AliasSet, context, SetAlias, request.session, request.agent, expires_ms)
        return pb.SetAliasResponse(expires_at=timestamp(expires_ms) if expires_ms else None)

    async def _ask(
        self,
        agent: str,
        answer_type: type[Answered],
        context: Context,
        request_type: Callable[..., Request],
        *fields: object,
    ) -> Answered:
        """Asks the mailbox on behalf of an agent; `fields` are the request's, behind its call number."""

        def make(call: int) -> Request:
            return request_type(call, *fields)

        return await self._calls.ask(PendingRequest(FlowKey(agent), make), answer_type, time_left(context))


def _deadline(request: pb.CheckInboxRequest, context: Context) -> float:
    """Returns until when CheckInbox waits, on the loop's clock: its own wait, or shortly before the call's deadline."""
    wait_sec = duration_ms(request.wait, Reason.WAIT_INVALID, "wait") / 1000
    left = time_left(context)
    if left is not None:
        wait_sec = min(wait_sec, left * 0.95)
    return asyncio.get_running_loop().time() + wait_sec
