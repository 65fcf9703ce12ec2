"""request_parsing — converts and checks requests: what a method gets is what it needs, in the model's types, and valid.

Owns one function for each form of request, which the table of RPCs names, and the defaults of limits. Not here: what
needs more than the request (`sending`, `inbox`, `lookup`), the conversion and the checks of one draft (`conversion`,
`core.validation`). Invariant: a request is parsed once, after it was admitted and before its method runs.
"""

__all__ = [
    "Acknowledgement",
    "AgentIds",
    "AgentPage",
    "Broadcast",
    "InboxCheck",
    "Listing",
    "NewAlias",
    "QueuePage",
    "SendRequest",
    "StatsPage",
    "SubscriptionStart",
    "parse_acknowledgement",
    "parse_agent",
    "parse_agent_ids",
    "parse_agents",
    "parse_alias",
    "parse_batch",
    "parse_broadcast",
    "parse_check",
    "parse_id",
    "parse_listing",
    "parse_queues",
    "parse_send",
    "parse_stats",
    "parse_subscription",
    "parse_traffic",
]

from collections.abc import Sequence
from typing import NamedTuple

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import check_agent, check_draft, check_key, check_sender, check_session, parse_message_id
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import draft_from_proto, duration_to_ms
from mailroomd.model.errors import MailroomError, Reason, too_large
from mailroomd.model.limits import (
    CHECK_DEFAULT_LIMIT,
    CHECK_MAX_LIMIT,
    DEFAULT_ALIAS_TTL_MS,
    DEFAULT_PERIOD_MS,
    MAX_BATCH_EVENTS,
    MAX_BROADCAST_RECIPIENTS,
    MAX_BULK_MESSAGES,
    MAX_IDS_PER_CALL,
    MAX_PREVIEW_BYTES,
    MAX_QUERY_CHARS,
    MAX_THREAD_ID_BYTES,
    MAX_TTL_MS,
    PAGE_DEFAULT_SIZE,
    PAGE_MAX_SIZE,
    STATS_MAX_SIZE,
)
from mailroomd.model.message import Draft
from mailroomd.model.message_filter import MessageFilter
from mailroomd.model.names import NAME_RULE, is_name
from mailroomd.model.states import DeliveryState

LISTED_STATES = tuple(DeliveryState)[DeliveryState.STORED : DeliveryState.EXPIRED + 1]


class SendRequest(NamedTuple):
    """A message to send; `key` is the client's idempotency key or ""."""

    draft: Draft
    key: str


class Broadcast(NamedTuple):
    """A message to send to several recipients.

    Attributes:
        draft: the message, addressed to the first of them; or why it is refused, for each of them.
        key: the client's idempotency key, or "".
        recipients: their names, as they were requested.
        size_bytes: of the message in the request.
    """

    draft: Draft | MailroomError
    key: str
    recipients: Sequence[str]
    size_bytes: int


class SubscriptionStart(NamedTuple):
    """What a stream begins with: after which id (0: the beginning, None: now); the rest is as in the contract.

    `present`: whether the stream counts as presence of the agent.
    """

    agent: str
    all_agents: bool
    after_id: int | None
    include_unread: bool
    include_receipts: bool
    observe: bool
    max_batch: int
    present: bool


class InboxCheck(NamedTuple):
    """What CheckInbox reads, and for how long it waits for it; the rest is as in the contract."""

    agent: str
    limit: int
    wait_sec: float
    unoffered_only: bool
    newest_first: bool
    observe: bool


class AgentIds(NamedTuple):
    """Messages of an agent."""

    agent: str
    message_ids: list[int]


class Acknowledgement(NamedTuple):
    """Messages of an agent that are read; `by` is who says so, or "" for the agent itself."""

    agent: str
    message_ids: list[int]
    by: str


class NewAlias(NamedTuple):
    """A session that becomes an alias of an agent, for `ttl_ms`; 0 ends it."""

    agent: str
    session: str
    ttl_ms: int


class Listing(NamedTuple):
    """A page of one mailbox, or of all; `before_id` is the id behind which it begins, or 0.

    Attributes:
        preview_bytes: what is shown of each content; 0 for all of it, and metadata.
    """

    agent: str
    page_size: int
    before_id: int
    wanted: MessageFilter
    preview_bytes: int


class StatsPage(NamedTuple):
    """One mailbox, or a page of all; `page_token` is the name behind which it begins, or ""."""

    agent: str
    page_size: int
    page_token: str


class QueuePage(NamedTuple):
    """One session, or a page of all; `page_token` is the name behind which it begins, or ""."""

    session: str
    page_size: int
    page_token: str


class AgentPage(NamedTuple):
    """A page of the agents; `page_token` is the name behind which it begins, or ""."""

    page_size: int
    page_token: str
    alive_only: bool
    all_hosts: bool


async def parse_send(request: pb.SendMessageRequest, call: Call) -> SendRequest:
    """Returns the message of a request, as received (`gateway.request_types`)."""
    async with call.work.slot():
        return await _parse_send(request, call)


async def parse_broadcast(request: pb.BroadcastMessageRequest, call: Call) -> Broadcast:
    """Returns a message and its recipients; what all copies have in common is converted and checked once."""
    message, recipients = request.message, request.recipients
    if message.recipient:
        raise MailroomError(
            Reason.OPTIONS_CONFLICT,
            "the message of a broadcast must not name a recipient: use `recipients`",
            field="message.recipient",
        )
    _check_count(len(recipients), MAX_BROADCAST_RECIPIENTS, "recipients")
    async with call.work.slot():
        try:
            draft, _ = await _parse_send(message, call, recipients[0] if recipients else "", check_recipient=False)
        except MailroomError as error:
            return Broadcast(_without_frames(error), "", recipients, 0)
    return Broadcast(draft, message.idempotency_key, recipients, message.ByteSize())


async def parse_batch(request: pb.SendMessagesRequest, call: Call) -> list[SendRequest | MailroomError]:
    """Returns the messages of a batch, or for each why it is refused."""
    _check_count(len(request.messages), MAX_BULK_MESSAGES, "messages")
    sends: list[SendRequest | MailroomError] = []
    async with call.work.slot() as share:
        for message in request.messages:
            try:
                sends.append(await _parse_send(message, call))
            except MailroomError as error:
                sends.append(_without_frames(error))
            await share.yield_if_due()
    return sends


async def parse_subscription(request: pb.SubscribeRequest, _: Call) -> SubscriptionStart:
    """Returns where a stream begins and what it carries."""
    if request.all_agents and (request.agent or request.include_unread):
        raise MailroomError(
            Reason.OPTIONS_CONFLICT, "all_agents cannot be combined with agent or include_unread", field="all_agents"
        )
    if request.after_id and request.include_unread:
        raise MailroomError(
            Reason.OPTIONS_CONFLICT, "after_id and include_unread cannot be combined: give one", field="after_id"
        )
    if not request.all_agents:
        check_agent(request.agent)
    return SubscriptionStart(
        request.agent,
        request.all_agents,
        parse_message_id(request.after_id, "after_id", Reason.AFTER_ID_INVALID) if request.after_id else None,
        request.include_unread,
        request.include_receipts or request.all_agents,
        request.observe or request.all_agents,
        _clamp_limit(request.max_batch, 1, MAX_BATCH_EVENTS, "max_batch"),
        not request.all_agents and (request.present or not request.observe),
    )


async def parse_check(request: pb.CheckInboxRequest, _: Call) -> InboxCheck:
    """Returns what CheckInbox reads."""
    check_agent(request.agent)
    return InboxCheck(
        request.agent,
        _clamp_limit(request.limit, CHECK_DEFAULT_LIMIT, CHECK_MAX_LIMIT, "limit"),
        duration_to_ms(request.wait, Reason.WAIT_INVALID, "wait") / 1000,
        request.unoffered_only,
        request.newest_first,
        request.observe,
    )


async def parse_acknowledgement(request: pb.AcknowledgeMessagesRequest, call: Call) -> Acknowledgement:
    """Returns the messages that are read, and who says so."""
    if request.by:
        check_agent(request.by, "by")
    return Acknowledgement(*await parse_agent_ids(request, call), request.by)


async def parse_agent_ids(request: pb.MarkOfferedRequest | pb.AcknowledgeMessagesRequest, _: Call) -> AgentIds:
    """Returns the messages that a request names."""
    check_agent(request.agent)
    count = len(request.message_ids)
    if count > MAX_IDS_PER_CALL:
        sentence = f"{count:,} message ids in one call (limit {MAX_IDS_PER_CALL:,}): use several calls"
        raise MailroomError(Reason.TOO_MANY, sentence, field="message_ids")
    return AgentIds(request.agent, [parse_message_id(text, "message_ids") for text in request.message_ids])


async def parse_agent(request: pb.ClearMailboxRequest, _: Call) -> str:
    """Returns the agent that a request names."""
    check_agent(request.agent)
    return request.agent


async def parse_alias(request: pb.SetAliasRequest, _: Call) -> NewAlias:
    """Returns an alias that is to be set."""
    check_agent(request.agent)
    check_session(request.session)
    if request.agent == request.session:
        raise MailroomError(
            Reason.OPTIONS_CONFLICT, "agent and session are the same name: name another session", field="session"
        )
    ttl_ms = DEFAULT_ALIAS_TTL_MS
    if request.HasField("ttl"):
        ttl_ms = duration_to_ms(request.ttl, Reason.TTL_INVALID, "ttl")
    if ttl_ms > MAX_TTL_MS:
        raise MailroomError(Reason.TTL_INVALID, "ttl must be at most ten years; zero ends the alias", field="ttl")
    return NewAlias(request.agent, request.session, ttl_ms)


async def parse_id(request: pb.GetMessageRequest, _: Call) -> int:
    """Returns the id of the message that a request names."""
    return parse_message_id(request.id, "id")


async def parse_listing(request: pb.ListMessagesRequest, _: Call) -> Listing:
    """Returns the page that a request asks for."""
    if request.agent:
        check_agent(request.agent)
    size = _clamp_limit(request.page_size, PAGE_DEFAULT_SIZE, PAGE_MAX_SIZE, "page_size")
    _check_length(request.query, MAX_QUERY_CHARS, Reason.QUERY_TOO_LONG, "query")
    _check_length(request.thread_id, MAX_THREAD_ID_BYTES, Reason.THREAD_ID_TOO_LONG, "thread_id")
    token = request.page_token
    before_id = parse_message_id(token, "page_token", Reason.PAGE_TOKEN_INVALID) if token else 0
    if request.sender:
        check_sender(request.sender)
    states = frozenset(state for state in LISTED_STATES if state in request.states) if request.states else None
    wanted = MessageFilter(request.unread_only, request.thread_id, request.query, request.sender, states)
    preview_bytes = _clamp_limit(request.preview_bytes, 0, MAX_PREVIEW_BYTES, "preview_bytes")
    return Listing(request.agent, size, before_id, wanted, preview_bytes)


async def parse_traffic(request: pb.GetTrafficRequest, _: Call) -> int:
    """Returns the length of a period in milliseconds."""
    if not request.HasField("period"):
        return DEFAULT_PERIOD_MS
    period_ms = duration_to_ms(request.period, Reason.LIMIT_INVALID, "period")
    if not 0 < period_ms <= MAX_TTL_MS:
        sentence = "period must be between one millisecond and ten years; an hour if absent"
        raise MailroomError(Reason.LIMIT_INVALID, sentence, field="period")
    return period_ms


async def parse_stats(request: pb.GetMailboxStatsRequest, _: Call) -> StatsPage:
    """Returns the mailbox, or the page of all, that a request asks for."""
    if request.agent:
        check_agent(request.agent)
        return StatsPage(request.agent, 1, "")
    size = _clamp_limit(request.page_size, STATS_MAX_SIZE, STATS_MAX_SIZE, "page_size")
    return StatsPage("", size, _name_token(request.page_token))


async def parse_queues(request: pb.GetQueueStatsRequest, _: Call) -> QueuePage:
    """Returns the session, or the page of all, that a request asks for."""
    if request.session_id:
        check_session(request.session_id)
    size = _clamp_limit(request.page_size, STATS_MAX_SIZE, STATS_MAX_SIZE, "page_size")
    return QueuePage(request.session_id, size, _name_token(request.page_token))


async def parse_agents(request: pb.ListAgentsRequest, _: Call) -> AgentPage:
    """Returns the page of agents that a request asks for."""
    size = _clamp_limit(request.page_size, PAGE_MAX_SIZE, PAGE_MAX_SIZE, "page_size")
    return AgentPage(size, _name_token(request.page_token), request.alive_only, request.all_hosts)


async def _parse_send(
    request: pb.SendMessageRequest, call: Call, recipient: str = "", *, check_recipient: bool = True
) -> SendRequest:
    draft = await draft_from_proto(request, recipient, verified=call.caller.is_verified)
    check_draft(draft, check_recipient=check_recipient)
    check_key(request.idempotency_key)
    return SendRequest(draft, request.idempotency_key)


def _without_frames(error: MailroomError) -> MailroomError:
    """Returns an error that is kept until others are answered; its frames hold decoded metadata."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _check_count(count: int, limit: int, field: str) -> None:
    if count > limit:
        raise MailroomError(
            Reason.TOO_MANY,
            f"{count:,} {field} in one request (limit {limit:,}): use several requests",
            field=field,
        )


def _clamp_limit(requested: int, default: int, maximum: int, field: str) -> int:
    """Returns a requested number of items: the default for 0, and never more than the maximum."""
    if requested < 0:
        raise MailroomError(
            Reason.LIMIT_INVALID, f"{field} must be between 1 and {maximum}; 0 means {default}", field=field
        )
    return min(requested or default, maximum)


def _check_length(text: str, max_chars: int, reason: Reason, field: str) -> None:
    if len(text) > max_chars:
        raise too_large(reason, field, len(text), max_chars, "characters")


def _name_token(token: str) -> str:
    """Returns a page token that is a name, or "" for the first page."""
    if token and not is_name(token):
        sentence = f"page_token must be the next_page_token of a response: {NAME_RULE}"
        raise MailroomError(Reason.PAGE_TOKEN_INVALID, sentence, field="page_token")
    return token
