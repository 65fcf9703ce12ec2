"""page_requests — what a request for a page of mailboxes, queues or agents asks for, and the limits of all pages.

Not here: pages of messages (`request_parsing`), making the pages (`name_pages`).
"""

__all__ = ["AgentPage", "QueuePage", "StatsPage", "clamp_limit", "parse_agents", "parse_queues", "parse_stats"]

from typing import NamedTuple

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import check_agent, check_session
from mailroomd.gateway.call import Call
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import PAGE_MAX_SIZE, STATS_MAX_SIZE
from mailroomd.model.names import NAME_RULE, is_name


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


async def parse_stats(request: pb.GetMailboxStatsRequest, _: Call) -> StatsPage:
    """Returns the mailbox, or the page of all, that a request asks for."""
    if request.agent:
        check_agent(request.agent)
        return StatsPage(request.agent, 1, "")
    size = clamp_limit(request.page_size, STATS_MAX_SIZE, STATS_MAX_SIZE, "page_size")
    return StatsPage("", size, _name_token(request.page_token))


async def parse_queues(request: pb.GetQueueStatsRequest, _: Call) -> QueuePage:
    """Returns the session, or the page of all, that a request asks for."""
    if request.session_id:
        check_session(request.session_id)
    size = clamp_limit(request.page_size, STATS_MAX_SIZE, STATS_MAX_SIZE, "page_size")
    return QueuePage(request.session_id, size, _name_token(request.page_token))


async def parse_agents(request: pb.ListAgentsRequest, _: Call) -> AgentPage:
    """Returns the page of agents that a request asks for."""
    size = clamp_limit(request.page_size, PAGE_MAX_SIZE, PAGE_MAX_SIZE, "page_size")
    return AgentPage(size, _name_token(request.page_token), request.alive_only, request.all_hosts)


def clamp_limit(requested: int, default: int, maximum: int, field: str) -> int:
    """Returns a requested number of items: the default for 0, and never more than the maximum."""
    if requested < 0:
        raise MailroomError(
            Reason.LIMIT_INVALID, f"{field} must be between 1 and {maximum}; 0 means {default}", field=field
        )
    return min(requested or default, maximum)


def _name_token(token: str) -> str:
    """Returns a page token that is a name, or "" for the first page."""
    if token and not is_name(token):
        sentence = f"page_token must be the next_page_token of a response: {NAME_RULE}"
        raise MailroomError(Reason.PAGE_TOKEN_INVALID, sentence, field="page_token")
    return token
