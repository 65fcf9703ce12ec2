"""Lookup — what anybody may look up: messages, lists, counts, pending files, agents. It needs no worker.

Owns nothing; reads by itself (`MailReader`, `InboxCensus`). Above: `MailboxService`.
"""

__all__ = ["Lookup"]

import asyncio
from typing import TypeVar

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import check_agent, check_session, parse_message_id
from mailroomd.gateway.conversion import delivery_of, message_to_proto, receipt_to_proto, timestamp
from mailroomd.gateway.handlers import Context
from mailroomd.gateway.inbox_census import InboxCensus
from mailroomd.gateway.mail_reader import MailReader, age_sec
from mailroomd.gateway.names import Names
from mailroomd.gateway.requests import bounded, check_length, fitting, has_more
from mailroomd.model.announcement import Receipt
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason, message_not_found
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.limits import (
    ALIVE_MS,
    MAX_PAGE_BYTES,
    MAX_QUERY_CHARS,
    MAX_TYPE_BYTES,
    PAGE_DEFAULT_SIZE,
    PAGE_MAX_SIZE,
)
from mailroomd.model.names import NAME_RULE, is_name
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.message_archive import StoredHistory
from mailroomd.table.layout import MailboxCounts

STATS_MOST = 20_000  # mailboxes on one page: of names of the greatest length they fit into 3 MiB
Row = TypeVar("Row")


class Lookup:
    """The methods that look something up.

    Args:
        reader: reads mail.
        names: says which mailboxes a name stands for.
        census: counts files.
    """

    def __init__(self, reader: MailReader, names: Names, census: InboxCensus) -> None:
        self._reader = reader
        self._names = names
        self._census = census

    async def get_message(self, request: pb.GetMessageRequest, _: Context) -> pb.GetMessageResponse:
        """Returns one message with what became of it."""
        found = await self._reader.history(parse_message_id(request.id, "id"))
        if found is None:
            raise message_not_found(request.id)
        message = found.message
        counts = await self._reader.counts(message.draft.recipient)
        return pb.GetMessageResponse(
            message=message_to_proto(message),
            delivery=delivery_of(
                message.state, found.file_error, counts.subscribers, counts.last_seen_ms, found.team_error
            ),
            history=_history(found),
        )

    async def list_messages(self, request: pb.ListMessagesRequest, _: Context) -> pb.ListMessagesResponse:
        """Lists a mailbox, or all of them, newest first, a page."""
        if request.agent:
            check_agent(request.agent)
        size = bounded(request.page_size, PAGE_DEFAULT_SIZE, PAGE_MAX_SIZE, "page_size")
        check_length(request.query, MAX_QUERY_CHARS, Reason.QUERY_TOO_LONG, "query")
        check_length(request.thread_id, MAX_TYPE_BYTES, Reason.THREAD_ID_TOO_LONG, "thread_id")
        token = request.page_token
        before = parse_message_id(token, "page_token", Reason.PAGE_TOKEN_INVALID) if token else 0
        found = await self._reader.listed(
            self._names.mailboxes_of(request.agent) if request.agent else None,
            size + 1,
            before=before,
            unread_only=request.unread_only,
            thread_id=request.thread_id,
            query=request.query,
            budget_bytes=MAX_PAGE_BYTES,
        )
        kept = fitting(found[:size])
        more = has_more(kept, found, size)
        return pb.ListMessagesResponse(messages=kept, next_page_token=kept[-1].id if more and kept else "")

    async def get_mailbox_stats(self, request: pb.GetMailboxStatsRequest, _: Context) -> pb.GetMailboxStatsResponse:
        """Counts, from shared memory: no worker is asked."""
        if request.agent:
            check_agent(request.agent)
            name = self._names.agent_of(request.agent)
            return pb.GetMailboxStatsResponse(mailboxes=[_stats(name, await self._reader.counts(name))])
        size = bounded(request.page_size, STATS_MOST, STATS_MOST, "page_size")
        rows, token = _page(await self._reader.all_counts(), request.page_token, size)
        return pb.GetMailboxStatsResponse(mailboxes=[_stats(*row) for row in rows], next_page_token=token)

    async def get_queue_stats(self, request: pb.GetQueueStatsRequest, _: Context) -> pb.GetQueueStatsResponse:
        """Counts pending inbox files, as they lie there."""
        if request.session_id:
            check_session(request.session_id)
        found = await asyncio.get_running_loop().run_in_executor(None, self._census.take, request.session_id)
        return pb.GetQueueStatsResponse(
            queues=[
                pb.QueueStats(
                    session_id=name,
                    pending_count=one.files,
                    oldest_age_sec=age_sec(milliseconds_of(one.oldest_id)),
                )
                for name, one in sorted(found.items())
            ]
        )

    async def list_agents(self, request: pb.ListAgentsRequest, _: Context) -> pb.ListAgentsResponse:
        """Lists who has been here. A session that is an alias is listed with its agent."""
        size = bounded(request.page_size, PAGE_MAX_SIZE, PAGE_MAX_SIZE, "page_size")
        here = [
            (name, counts)
            for name, counts in await self._reader.all_counts()
            if (counts.last_seen_ms or counts.subscribers > 0)
            and self._names.agent_of(name) == name
            and (_is_alive(counts) or not request.alive_only)
        ]
        rows, token = _page(here, request.page_token, size)
        agents = [_agent(name, counts, self._names.sessions_of(name)) for name, counts in rows]
        return pb.ListAgentsResponse(agents=agents, next_page_token=token)


def _page(rows: list[tuple[str, Row]], token: str, size: int) -> tuple[list[tuple[str, Row]], str]:
    """Returns the rows behind a name, so many at most, and the token of the next page."""
    if token and not is_name(token):
        raise MailroomError(
            Reason.PAGE_TOKEN_INVALID, f"page_token is a response's next_page_token: {NAME_RULE}", field="page_token"
        )
    rest = [row for row in rows if row[0] > token] if token else rows
    return rest[:size], rest[size - 1][0] if len(rest) > size else ""


def _history(found: StoredHistory) -> list[pb.Receipt]:
    message = found.message
    end = message.state if message.state >= DeliveryState.READ else DeliveryState.READ
    steps = [(DeliveryState.STORED, message.timestamp_ms), (DeliveryState.FILED, found.filed_ms)]
    steps += [(DeliveryState.OFFERED, found.offered_ms), (end, found.ended_ms)]
    known = [(state, when_ms) for state, when_ms in steps if when_ms]
    if message.state is DeliveryState.OFFERED and not found.offered_ms:  # it reaches the database a little later
        known.append((DeliveryState.OFFERED, 0))
    draft = message.draft
    return [
        receipt_to_proto(Receipt(0, draft.sender, message.id, draft.recipient, state, when_ms))
        for state, when_ms in known
    ]


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


def _agent(name: str, counts: MailboxCounts, sessions: list[str]) -> pb.AgentInfo:
    agent = pb.AgentInfo(
        name=name,
        alive=_is_alive(counts),
        subscribers=max(0, counts.subscribers),
        unread=counts.unread,
        sessions=sessions,
    )
    if counts.last_seen_ms:
        agent.last_seen.CopyFrom(timestamp(counts.last_seen_ms))
    return agent


def _is_alive(counts: MailboxCounts) -> bool:
    return counts.subscribers > 0 or now_ms() - counts.last_seen_ms < ALIVE_MS
