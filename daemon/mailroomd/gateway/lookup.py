"""Lookup — reads messages, lists, counts, pending files and agents. It needs no other worker.

Owns nothing; reads by itself (`MailReader`, `InboxCensus`). Above: `rpcs`.
"""

__all__ = ["Lookup"]

import asyncio
from contextlib import nullcontext

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.auth.caller import Role
from mailroomd.core.host_directory import HostDirectory, HostRecord
from mailroomd.gateway.alias_cache import AliasCache
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import delivery_to_proto, message_to_proto, receipt_to_proto, timestamp_from_ms
from mailroomd.gateway.host_conversion import remote_agent_to_proto, remote_agents
from mailroomd.gateway.inbox_census import InboxCensus, PendingFiles
from mailroomd.gateway.list_response import ListResponse, encode_items, encode_messages, has_more
from mailroomd.gateway.mail_reader import MailReader, age_sec
from mailroomd.gateway.name_pages import page_by_name
from mailroomd.gateway.page_requests import AgentPage, QueuePage, StatsPage
from mailroomd.gateway.request_parsing import Listing
from mailroomd.model.announcement import Receipt
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import message_not_found
from mailroomd.model.ids import format_id, milliseconds_of
from mailroomd.model.limits import ALIVE_MS, MAX_PAGE_BYTES
from mailroomd.model.names import has_host
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.message_archive import StoredHistory
from mailroomd.table.layout import MailboxCounts

MAX_PAIRS = 5_000  # in one response: with the longest names they fit into 3 MiB


class Lookup:
    """The methods that only read.

    Args:
        reader: reads mail.
        aliases: resolves names.
        census: counts inbox files.
        hosts: the other hosts.
    """

    def __init__(self, reader: MailReader, aliases: AliasCache, census: InboxCensus, hosts: HostDirectory) -> None:
        self._reader = reader
        self._aliases = aliases
        self._census = census
        self._hosts = hosts

    async def get_message(self, message_id: int, call: Call) -> pb.GetMessageResponse:
        """Returns one message and the history of its delivery."""
        await self._reader.catch_up()
        async with call.work.slot():
            # Otherwise the time to read the content would reveal that another agent's message exists.
            is_agent = call.caller.role is Role.AGENT
            if is_agent and not call.may_see(await self._reader.read_parties(message_id)):
                raise message_not_found(format_id(message_id))
            history = await self._reader.read_history(message_id)
        if history is None or not call.may_see((history.message.draft.sender, history.message.draft.recipient)):
            raise message_not_found(format_id(message_id))
        message = history.message
        on_its_way = await self._reader.read_departure(message) if has_host(message.draft.recipient) else None
        counts = await self._reader.read_counts(message.draft.recipient)
        return pb.GetMessageResponse(
            message=message_to_proto(message),
            delivery=delivery_to_proto(
                message,
                history.file_error,
                counts.subscribers,
                counts.last_seen_ms,
                history.team_error,
                on_its_way,
                self._hosts.listing(message.draft.recipient, counts.last_seen_ms),
            ),
            history=_history_to_proto(history, on_its_way.reason if on_its_way else ""),
        )

    async def list_messages(self, request: Listing, call: Call) -> ListResponse:
        """Returns a page of one mailbox, or of all mailboxes, newest first."""
        await self._reader.catch_up()
        size, wanted = request.page_size, request.wanted
        async with call.work.searching if wanted.is_search else nullcontext(), call.work.slot() as share:
            page = await self._reader.read_newest(
                self._aliases.mailboxes_of(request.agent) if request.agent else None,
                size + 1,
                wanted,
                before=request.before_id,
                budget_bytes=MAX_PAGE_BYTES,
            )
            encoded = await encode_messages(page[:size], share, request.preview_bytes)
        is_last = not encoded or not has_more(len(encoded), page, size)
        next_token = "" if is_last else format_id(page[len(encoded) - 1].id)
        return ListResponse(pb.ListMessagesResponse(next_page_token=next_token), "messages", encoded)

    async def get_traffic(self, period_ms: int, call: Call) -> ListResponse:
        """Returns the numbers of a period's messages by sender and mailbox, the largest first."""
        await self._reader.catch_up()
        async with call.work.searching, call.work.slot() as share:
            traffic = await self._reader.read_traffic(now_ms() - period_ms)
            pairs = traffic.counts.most_common(MAX_PAIRS)
            encoded = await encode_items(pairs, _pair_to_proto, share)
        rest = pb.GetTrafficResponse(since=timestamp_from_ms(traffic.since_ms), messages=traffic.counts.total())
        return ListResponse(rest, "pairs", encoded)

    async def get_mailbox_stats(self, request: StatsPage, call: Call) -> ListResponse:
        """Returns the counts of one mailbox or of a page of them, from shared memory."""
        await self._reader.catch_up()
        if request.agent:
            name = self._aliases.agent_of(request.agent)
            counts = await self._reader.read_counts(name)
            encoded = [self._stats_to_proto((name, counts)).SerializeToString()]
            return ListResponse(pb.GetMailboxStatsResponse(), "mailboxes", encoded)
        async with call.work.slot() as share:
            all_counts = await self._reader.read_all_counts()
            page, next_token = await page_by_name(all_counts, request.page_token, request.page_size, share)
            encoded = await encode_items(page, self._stats_to_proto, share)
        return ListResponse(pb.GetMailboxStatsResponse(next_page_token=next_token), "mailboxes", encoded)

    async def get_queue_stats(self, request: QueuePage, call: Call) -> ListResponse:
        """Returns the number of pending inbox files on disk, by session: of one, or of a page of them."""
        loop = asyncio.get_running_loop()
        async with call.work.slot() as share:
            pending = await loop.run_in_executor(None, self._census.count, request.session)
            page, next_token = await page_by_name(pending.items(), request.page_token, request.page_size, share)
            encoded = await encode_items(page, _queue_to_proto, share)
        return ListResponse(pb.GetQueueStatsResponse(next_page_token=next_token), "queues", encoded)

    async def list_agents(self, request: AgentPage, call: Call) -> ListResponse:
        """Returns the agents that have connected. A session that is an alias is listed with its agent."""
        await self._reader.catch_up()
        async with call.work.slot() as share:
            agents: list[tuple[str, MailboxCounts | HostRecord]] = []
            for name, counts in await self._reader.read_all_counts():
                is_listed = _is_alive(counts) or (counts.last_seen_ms and not request.alive_only)
                if is_listed and self._aliases.agent_of(name) == name:
                    agents.append((name, counts))
                await share.yield_if_due()
            if request.all_hosts:
                agents += remote_agents(self._hosts, alive_only=request.alive_only)
            page, next_token = await page_by_name(agents, request.page_token, request.page_size, share)
            encoded = await encode_items(page, self._agent_to_proto, share)
        return ListResponse(pb.ListAgentsResponse(next_page_token=next_token), "agents", encoded)

    def _stats_to_proto(self, mailbox: tuple[str, MailboxCounts]) -> pb.MailboxStats:
        name, counts = mailbox
        stats = pb.MailboxStats(
            agent_id=name,
            total=counts.total,
            unread=counts.unread,
            oldest_unread_age_sec=age_sec(self._reader.accepted_ms(counts.oldest_unread_id)) if counts.unread else 0,
            subscribers=max(0, counts.subscribers),
        )
        if counts.last_seen_ms:
            stats.last_seen.CopyFrom(timestamp_from_ms(counts.last_seen_ms))
        return stats

    def _agent_to_proto(self, agent: tuple[str, MailboxCounts | HostRecord]) -> pb.AgentInfo:
        name, counts = agent
        if isinstance(counts, HostRecord):
            return remote_agent_to_proto(name, counts)
        proto = pb.AgentInfo(
            name=name,
            alive=_is_alive(counts),
            subscribers=max(0, counts.subscribers),
            unread=counts.unread,
            sessions=self._aliases.sessions_of(name),
        )
        if counts.last_seen_ms:
            proto.last_seen.CopyFrom(timestamp_from_ms(counts.last_seen_ms))
        return proto


def _pair_to_proto(pair: tuple[tuple[str, str], int]) -> pb.PairTraffic:
    (sender, recipient), messages = pair
    return pb.PairTraffic(sender=sender, recipient=recipient, messages=messages)


def _queue_to_proto(queue: tuple[str, PendingFiles]) -> pb.QueueStats:
    session, files = queue
    # The id tells when the message was accepted, by a clock that may have been ahead; the file cannot be older.
    oldest_age_sec = max(age_sec(milliseconds_of(files.oldest_id)), age_sec(files.oldest_written_ms))
    return pb.QueueStats(session_id=session, pending_count=files.files, oldest_age_sec=oldest_age_sec)


def _history_to_proto(history: StoredHistory, return_reason: str) -> list[pb.Receipt]:
    message = history.message
    end = message.state if message.state >= DeliveryState.READ else DeliveryState.READ
    steps = [(DeliveryState.STORED, message.timestamp_ms), (DeliveryState.FILED, history.filed_ms)]
    steps += [(DeliveryState.OFFERED, history.offered_ms), (end, history.ended_ms)]
    known_steps = [(state, when_ms) for state, when_ms in steps if when_ms]
    if history.overdue_ms:
        before = sum(when_ms <= history.overdue_ms for _, when_ms in known_steps)
        known_steps.insert(before, (DeliveryState.OVERDUE, history.overdue_ms))
    if message.state is DeliveryState.OFFERED and not history.offered_ms:  # the database learns of it a little later
        known_steps.append((DeliveryState.OFFERED, 0))
    draft = message.draft
    details = {DeliveryState.READ: (history.acknowledged_by, ""), DeliveryState.RETURNED: ("", return_reason)}
    return [
        receipt_to_proto(
            Receipt(0, draft.sender, message.id, draft.recipient, state, when_ms, *details.get(state, ("", "")))
        )
        for state, when_ms in known_steps
    ]


def _is_alive(counts: MailboxCounts) -> bool:
    return counts.subscribers > 0 or now_ms() - counts.last_seen_ms < ALIVE_MS
