"""Access — the one table of who may do what: RPC × role.

Owns one row for each RPC of every service, by the RPC's name. The owner and administrators may do everything; an agent
may do what concerns itself. The names that a row calls `own` must all belong to the agent: its own name, or a session
that is an alias of it.
Not here: who the caller is (`auth.authentication`), how much it may do (`gateway.client_limits`).
Invariant: an RPC without a row is refused to everyone but the owner and administrators.
"""

__all__ = ["RULES", "Grant", "Rule", "check_access", "may_see_message"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mailroomd.auth.authentication import token_missing
from mailroomd.auth.caller import Caller, Role
from mailroomd.model.errors import MailroomError, Reason

NamesByField = Iterable[tuple[str, str]]


class Grant(Enum):
    """What an agent's token allows for one RPC."""

    ALWAYS = "always"
    OWN = "own"  # only in its own name, or on its own mailbox
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row.

    Attributes:
        agent: what an agent's token allows.
        own: returns the names in a request, each with its field, that must belong to the agent.
        is_rechecked: check the caller again before the response, which carries what others have written: meanwhile the
            token may have been revoked, or an alias may have moved.
        is_public: also for callers without a token.
    """

    agent: Grant
    own: Callable[[Any], NamesByField] = lambda _: ()
    is_rechecked: bool = False
    is_public: bool = False


_NO_RULE = Rule(Grant.NEVER)


def _agent(request: Any) -> NamesByField:
    return [("agent", request.agent)]


RULES: dict[str, Rule] = {
    "SendMessage": Rule(Grant.OWN, lambda request: [("sender", request.sender)]),
    "BroadcastMessage": Rule(Grant.OWN, lambda request: [("message.sender", request.message.sender)]),
    "SendMessages": Rule(
        Grant.OWN, lambda request: (("messages.sender", message.sender) for message in request.messages)
    ),
    "Subscribe": Rule(
        Grant.OWN, lambda request: [("all_agents", "") if request.all_agents else ("agent", request.agent)]
    ),
    "CheckInbox": Rule(Grant.OWN, _agent, is_rechecked=True),
    "MarkOffered": Rule(Grant.OWN, _agent),
    "AcknowledgeMessages": Rule(Grant.OWN, _agent),
    "GetMessage": Rule(Grant.OWN, is_rechecked=True),  # only its parties: see `may_see_message`
    "ListMessages": Rule(Grant.OWN, _agent, is_rechecked=True),
    "ClearMailbox": Rule(Grant.OWN, _agent),
    "GetMailboxStats": Rule(Grant.OWN, _agent, is_rechecked=True),
    "GetQueueStats": Rule(Grant.OWN, lambda request: [("session_id", request.session_id)], is_rechecked=True),
    # An alias takes over the mail of another name, and anyone who wrote to a session knows its name. So only the owner
    # and administrators decide which agent a session belongs to.
    "SetAlias": Rule(Grant.NEVER),
    "ListAgents": Rule(Grant.ALWAYS, is_rechecked=True),  # the address book
    "GetStatus": Rule(Grant.NEVER),  # pids and exits are for operators
    "GetMetrics": Rule(Grant.NEVER),  # the traffic of every agent is for operators
    "Check": Rule(Grant.ALWAYS, is_public=True),  # grpc.health.v1: load balancers have no token
    "Watch": Rule(Grant.ALWAYS, is_public=True),
    "ServerReflectionInfo": Rule(Grant.ALWAYS),
}


def check_access(rpc: str, caller: Caller, request: object, agent_of: Callable[[str], str]) -> None:
    """Checks that a caller may make a request.

    Args:
        rpc: the RPC's name.
        caller: who makes the request.
        request: the request; None while it has not been read.
        agent_of: returns the agent behind a name.

    Raises:
        MailroomError: TOKEN_MISSING, NOT_YOURS or ADMIN_ONLY.
    """
    if caller.role is Role.OWNER or caller.role is Role.ADMIN:
        return
    rule = RULES.get(rpc, _NO_RULE)
    if rule.is_public:
        return
    if caller.role is Role.ANONYMOUS:
        raise token_missing()
    if rule.agent is Grant.NEVER:
        sentence = f"{rpc} is for the owner and administrators: use the Unix socket, or a token made with --admin"
        raise MailroomError(Reason.ADMIN_ONLY, sentence)
    if request is not None:
        for field, name in rule.own(request):
            if agent_of(name) != caller.agent:
                raise _not_yours(field, name, caller.agent, agent_of(name))


def may_see_message(caller: Caller, parties: tuple[str, ...], agent_of: Callable[[str], str]) -> bool:
    """Returns whether a caller may see a message: an agent only if it is one of the parties.

    Ids can be guessed, so to anyone else the message must not even seem to exist.
    """
    return caller.role is not Role.AGENT or any(agent_of(name) == caller.agent for name in parties)


def _not_yours(field: str, name: str, agent: str, owner: str) -> MailroomError:
    requested = "every mailbox" if not name else name if name == owner else f"{name}, a session of {owner}"
    sentence = (
        f"{field}: this token is for {agent}, not for {requested}: use that agent's own token, or one made with --admin"
    )
    return MailroomError(Reason.NOT_YOURS, sentence, field=field)
