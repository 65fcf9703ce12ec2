"""MailboxService — the servicer of mailboxes: each method checks, asks or reads, and answers.

Owns nothing that lasts. Sends and acknowledgements are asked of the mailbox (`Calls`); everything else is read
(`MailReader`) and needs no worker. Errors are raised as `MailroomError`; `handlers` makes statuses of them.
"""

__all__ = ["SERVICE", "MailboxService"]

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import check_agent, parse_message_id
from mailroomd.ipc.packets import MarkOffered, MarkRead, MessagesOffered, MessagesRead, NoteSeen
from mailroomd.model.errors import MailroomError, Reason, message_not_found, stopping, too_large
from mailroomd.model.ids import format_id, milliseconds_of
from mailroomd.model.limits import (
    CHECK_DEFAULT_LIMIT,
    CHECK_MAX_LIMIT,
    MAX_IDS_PER_CALL,
    MAX_PAGE_BYTES,
    MAX_QUERY_CHARS,
    MAX_TYPE_BYTES,
    PAGE_DEFAULT_SIZE,
    PAGE_MAX_SIZE,
)
from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState
from mailroomd.rpc.bells import Bells
from mailroomd.rpc.calls import Calls
from mailroomd.rpc.conversion import delivery_of, duration_ms, message_to_proto, receipt, timestamp
from mailroomd.rpc.encoding import EventEncoder
from mailroomd.rpc.handlers import Context, Handler, bidirectional, server_stream, unary
from mailroomd.rpc.mail_reader import MailReader, age_sec
from mailroomd.rpc.sending import Sending
from mailroomd.rpc.subscription import Subscription
from mailroomd.storage.batch import Batch
from mailroomd.storage.message_archive import StoredHistory
from mailroomd.storage.table_layout import MailboxCounts

SERVICE = "mailroom.v1.MailboxService"


class MailboxService:
    """The methods of mailroom.v1.MailboxService."""

    def __init__(self, reader: MailReader, calls: Calls, bells: Bells) -> None:
        self._reader = reader
        self._calls = calls
        self._bells = bells
        self._sending = Sending(calls)
        self._encoder = EventEncoder()
        self._is_stopping = False

    def handlers(self) -> dict[str, Handler]:
        """Returns the handler of each method, by its name."""
        return {
            "SendMessage": unary(pb.SendMessageRequest, self.send_message),
            "BroadcastMessage": unary(pb.BroadcastMessageRequest, self.broadcast_message),
            "SendMessages": bidirectional(pb.SendMessagesRequest, self.send_messages),
            "Subscribe": server_stream(pb.SubscribeRequest, self.subscribe),
            "CheckInbox": unary(pb.CheckInboxRequest, self.check_inbox),
            "MarkOffered": unary(pb.MarkOfferedRequest, self.mark_offered),
            "AcknowledgeMessages": unary(pb.AcknowledgeMessagesRequest, self.acknowledge_messages),
            "GetMessage": unary(pb.GetMessageRequest, self.get_message),
            "ListMessages": unary(pb.ListMessagesRequest, self.list_messages),
            "GetMailboxStats": unary(pb.GetMailboxStatsRequest, self.get_mailbox_stats),
        }

    def stop(self) -> None:
        """Takes nothing more in; streams and waiting calls say good-bye and end."""
        self._is_stopping = True
        self._bells.ring_all()

    # -- sending --------------------------------------------------------------------------------------------------

    async def send_message(self, request: pb.SendMessageRequest, context: Context) -> pb.SendMessageResponse:
        """Answers when the message is durable and filed, or durable and its file is being retried."""
        self._require_running()
        return await self._sending.send(request, _time_left(context))

    async def broadcast_message(
        self, request: pb.BroadcastMessageRequest, context: Context
    ) -> pb.BroadcastMessageResponse:
        """Sends a copy to each recipient; one that fails does not stop the others."""
        self._require_running()
        return await self._sending.broadcast(request, _time_left(context))

    async def send_messages(self, request: pb.SendMessagesRequest, context: Context) -> pb.SendMessagesResponse:
        """Sends one batch of a bulk stream."""
        self._require_running()
        return await self._sending.send_batch(request, _time_left(context))

    # -- receiving ------------------------------------------------------------------------------------------------

    async def subscribe(self, request: pb.SubscribeRequest, _: Context) -> AsyncGenerator[bytes, None]:
        """Streams what reaches an agent, from now on or from a message on."""
        self._require_running()
        observe = request.observe or request.all_agents
        cursor = self._first_cursor(request)
        agent = None if request.all_agents else request.agent
        with ExitStack() as presence:
            bell = presence.enter_context(self._bells.hung_for(agent))
            if agent is not None and not observe:
                presence.enter_context(self._bells.subscriber(agent))
            stream = Subscription(
                self._reader,
                self._encoder,
                self._calls,
                bell,
                agent,
                cursor,
                request.include_unread,
                observe,
                lambda: self._is_stopping,
            )
            async with aclosing(stream.events()) as events:
                async for event in events:
                    yield event

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
        self._require_running()
        check_agent(request.agent)
        limit = _bounded(request.limit, CHECK_DEFAULT_LIMIT, CHECK_MAX_LIMIT, "limit")
        until = _deadline(request, context)
        if not request.observe:
            self._calls.tell(NoteSeen(request.agent))
        with self._bells.hung_for(request.agent) as bell:
            while not (found := await self._unread(request, limit + 1)):
                if self._is_stopping or not await bell.rings_before(until):
                    break
        kept = _fitting(found[:limit])
        handed_over = [one.id for one in found[: len(kept)] if one.state < DeliveryState.OFFERED]
        if handed_over and not request.observe:
            self._calls.tell(MarkOffered(0, request.agent, handed_over))
            self._reader.note_offered(handed_over)
        return pb.CheckInboxResponse(messages=kept, more=_has_more(kept, found, limit))

    async def _unread(self, request: pb.CheckInboxRequest, limit: int) -> Batch[Message]:
        return await self._reader.unread(
            request.agent,
            limit,
            budget_bytes=MAX_PAGE_BYTES,
            unoffered_only=request.unoffered_only,
            newest_first=request.newest_first,
        )

    async def mark_offered(self, request: pb.MarkOfferedRequest, context: Context) -> pb.MarkOfferedResponse:
        """Records that messages were handed over by other means."""
        check_agent(request.agent)
        numbers = _parse_ids(request.message_ids)
        if numbers:
            await self._calls.ask(
                lambda call: MarkOffered(call, request.agent, numbers), MessagesOffered, _time_left(context)
            )
        return pb.MarkOfferedResponse()

    async def acknowledge_messages(
        self, request: pb.AcknowledgeMessagesRequest, context: Context
    ) -> pb.AcknowledgeMessagesResponse:
        """Marks messages read; repeating it is harmless."""
        check_agent(request.agent)
        numbers = _parse_ids(request.message_ids)
        if not numbers:
            return pb.AcknowledgeMessagesResponse()
        done = await self._calls.ask(
            lambda call: MarkRead(call, request.agent, numbers), MessagesRead, _time_left(context)
        )
        return pb.AcknowledgeMessagesResponse(
            acknowledged_ids=map(format_id, done.acknowledged), unknown_ids=map(format_id, done.unknown)
        )

    # -- looking up -----------------------------------------------------------------------------------------------

    async def get_message(self, request: pb.GetMessageRequest, _: Context) -> pb.GetMessageResponse:
        """Returns one message with what became of it."""
        found = await self._reader.history(parse_message_id(request.id, "id"))
        if found is None:
            raise message_not_found(request.id)
        message = found.message
        counts = await self._reader.counts(message.draft.recipient)
        return pb.GetMessageResponse(
            message=message_to_proto(message),
            delivery=delivery_of(message.state, found.file_error, counts.subscribers, counts.last_seen_ms),
            history=_history(found),
        )

    async def list_messages(self, request: pb.ListMessagesRequest, _: Context) -> pb.ListMessagesResponse:
        """Lists a mailbox newest first, a page."""
        check_agent(request.agent)
        size = _bounded(request.page_size, PAGE_DEFAULT_SIZE, PAGE_MAX_SIZE, "page_size")
        _check_length(request.query, MAX_QUERY_CHARS, Reason.QUERY_TOO_LONG, "query")
        _check_length(request.thread_id, MAX_TYPE_BYTES, Reason.THREAD_ID_TOO_LONG, "thread_id")
        token = request.page_token
        before = parse_message_id(token, "page_token", Reason.PAGE_TOKEN_INVALID) if token else 0
        found = await self._reader.listed(
            request.agent,
            size + 1,
            before=before,
            unread_only=request.unread_only,
            thread_id=request.thread_id,
            query=request.query,
            budget_bytes=MAX_PAGE_BYTES,
        )
        kept = _fitting(found[:size])
        more = _has_more(kept, found, size)
        return pb.ListMessagesResponse(messages=kept, next_page_token=kept[-1].id if more else "")

    async def get_mailbox_stats(self, request: pb.GetMailboxStatsRequest, _: Context) -> pb.GetMailboxStatsResponse:
        """Counts, from shared memory: no worker is asked."""
        if request.agent:
            check_agent(request.agent)
            rows = [(request.agent, await self._reader.counts(request.agent))]
        else:
            rows = await self._reader.all_counts()
        return pb.GetMailboxStatsResponse(mailboxes=[_stats(name, counts) for name, counts in rows])

    def _require_running(self) -> None:
        if self._is_stopping:
            raise stopping()


def _time_left(context: Context) -> float | None:
    return context.time_remaining()


def _deadline(request: pb.CheckInboxRequest, context: Context) -> float:
    """Returns until when CheckInbox waits, on the loop's clock: its own wait, or shortly before the call's deadline."""
    wait_sec = duration_ms(request.wait, Reason.WAIT_INVALID, "wait") / 1000
    left = _time_left(context)
    if left is not None:
        wait_sec = min(wait_sec, left * 0.95)
    return asyncio.get_running_loop().time() + wait_sec


def _bounded(asked: int, default: int, most: int, field: str) -> int:
    if asked < 0:
        raise MailroomError(
            Reason.LIMIT_INVALID, f"{field} is a number from 1 to {most}; 0 means {default}", field=field
        )
    return min(asked or default, most)


def _check_length(text: str, most: int, reason: Reason, field: str) -> None:
    if len(text) > most:
        raise too_large(reason, field, len(text), most, "characters")


def _parse_ids(texts: Sequence[str]) -> list[int]:
    if len(texts) > MAX_IDS_PER_CALL:
        raise MailroomError(
            Reason.TOO_MANY,
            f"{len(texts):,} ids in one call, {MAX_IDS_PER_CALL:,} at most: use several calls",
            field="message_ids",
        )
    return [parse_message_id(text, "message_ids") for text in texts]


def _fitting(messages: list[Message]) -> list[pb.Message]:
    """Returns as many messages as one response may carry, one at least, as the contract has them."""
    fitting: list[pb.Message] = []
    room = MAX_PAGE_BYTES
    for message in messages:
        said = message_to_proto(message)
        room -= said.ByteSize()  # metadata takes several times what it takes as JSON
        if room < 0 and fitting:
            break
        fitting.append(said)
    return fitting


def _has_more(kept: list[pb.Message], found: Batch[Message], limit: int) -> bool:
    """Returns whether a response leaves something out, of a read that asked for one more than its limit."""
    return len(kept) < len(found) or (found.is_cut and len(found) <= limit)


def _history(found: StoredHistory) -> list[pb.Receipt]:
    message = found.message
    steps = [(DeliveryState.STORED, message.timestamp_ms), (DeliveryState.FILED, found.filed_ms)]
    steps += [(DeliveryState.OFFERED, found.offered_ms), (DeliveryState.READ, found.read_ms)]
    history = [receipt(message, state, when_ms) for state, when_ms in steps if when_ms]
    if message.state is DeliveryState.OFFERED and not found.offered_ms:  # it reaches the database a little later
        history.append(receipt(message, DeliveryState.OFFERED, 0))
    return history


def _stats(name: str, counts: MailboxCounts) -> pb.MailboxStats:
    stats = pb.MailboxStats(
        agent_id=name,
        total=counts.total,
        unread=counts.unread,
        oldest_unread_age_sec=age_sec(milliseconds_of(counts.oldest_unread_id)) if counts.unread else 0,
        subscribers=max(0, counts.subscribers),
    )
    if counts.last_seen_ms:
        stats.last_seen.CopyFrom(timestamp(counts.last_seen_ms))
    return stats
