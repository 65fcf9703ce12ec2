"""Access — the one table of who may do what: RPC × role.

Owns a row for every RPC of every service, by the RPC's name. An owner and an administrator may do everything; an agent
only what concerns itself. What a row calls `own` are the names in a request that have to be the agent's: its own name,
or a session that is an alias of it.
Not here: who the caller is (`auth.authentication`), how much it may do (`gateway.client_limits`).
Invariant: an RPC without a row is refused to everybody but the owner and administrators.
"""

__all__ = ["RULES", "Grant", "Rule", "check_access", "check_answer"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mailroomd.auth.authentication import Authentication
from mailroomd.auth.caller import Caller, Role
from mailroomd.model.errors import MailroomError, Reason, message_not_found

Names = Iterable[tuple[str, str]]


class Grant(Enum):
    """What an agent's token gives for one RPC."""

    ALWAYS = "always"
    OWN = "own"  # only in its own name, or on its own mailbox
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row.

    Attributes:
        agent: what an agent's token gives.
        own: the names in a request, each with its field, that have to be the agent's.
        parties: the names in an answer of which one has to be the agent's; else it gets what it would get for nothing.
        is_public: also for callers without a token.
    """

    agent: Grant
    own: Callable[[Any], Names] = lambda _: ()
    parties: Callable[[Any], tuple[str, ...]] | None = None
    is_public: bool = False


_NO_ROW = Rule(Grant.NEVER)


def _agent(request: Any) -> Names:
    return [("agent", request.agent)]


RULES: dict[str, Rule] = {
    "SendMessage": Rule(Grant.OWN, lambda request: [("sender", request.sender)]),
    "BroadcastMessage": Rule(Grant.OWN, lambda request: [("message.sender", request.message.sender)]),
    "SendMessages": Rule(Grant.OWN, lambda request: (("messages.sender", one.sender) for one in request.messages)),
    "Subscribe": Rule(
        Grant.OWN, lambda request: [("all_agents", "") if request.all_agents else ("agent", request.agent)]
    ),
    "CheckInbox": Rule(Grant.OWN, _agent),
    "MarkOffered": Rule(Grant.OWN, _agent),
    "AcknowledgeMessages": Rule(Grant.OWN, _agent),
    # Ids can be guessed: who is no party to a message is not even told that it exists.
    "GetMessage": Rule(Grant.OWN, parties=lambda answer: (answer.message.sender, answer.message.recipient)),
    "ListMessages": Rule(Grant.OWN, _agent),
    "ClearMailbox": Rule(Grant.OWN, _agent),
    "GetMailboxStats": Rule(Grant.OWN, _agent),
    "GetQueueStats": Rule(Grant.OWN, lambda request: [("session_id", request.session_id)]),
    # An alias takes the mail of another name, and who wrote to a session knows its name: whose it is, the owner says.
    "SetAlias": Rule(Grant.NEVER),
    "ListAgents": Rule(Grant.ALWAYS),  # the address book
    "GetStatus": Rule(Grant.NEVER),  # pids, exits: for operators
    "GetMetrics": Rule(Grant.NEVER),  # how busy everybody is: for operators
    "Check": Rule(Grant.ALWAYS, is_public=True),  # grpc.health.v1: load balancers have no token
    "Watch": Rule(Grant.ALWAYS, is_public=True),
    "ServerReflectionInfo": Rule(Grant.ALWAYS),
}


def check_access(rpc: str, caller: Caller, request: object, agent_of: Callable[[str], str]) -> None:
    """Passes a request that its caller may make.

    Args:
        rpc: the RPC's name.
        caller: who makes the request.
        request: the request; None before it was read.
        agent_of: returns whose mailbox is behind a name.

    Raises:
        MailroomError: TOKEN_MISSING, NOT_YOURS or ADMIN_ONLY.
    """
    if caller.role is Role.OWNER or caller.role is Role.ADMIN:
        return
    rule = RULES.get(rpc, _NO_ROW)
    if rule.is_public:
        return
    if caller.role is Role.NOBODY:
        raise Authentication.missing()
    if rule.agent is Grant.NEVER:
        sentence = f"{rpc} is for the owner and administrators: use the Unix socket, or a token made with --admin"
        raise MailroomError(Reason.ADMIN_ONLY, sentence)
    if request is not None:
        for field, name in rule.own(request):
            if agent_of(name) != caller.agent:
                raise _not_yours(field, name, caller.agent, agent_of(name))


def check_answer(rpc: str, caller: Caller, request: Any, answer: object, agent_of: Callable[[str], str]) -> None:
    """Passes an answer that its caller may see.

    Raises:
        MailroomError: MESSAGE_NOT_FOUND, as if it did not exist.
    """
    if caller.role is not Role.AGENT or (parties := RULES[rpc].parties) is None:
        return
    if not any(agent_of(name) == caller.agent for name in parties(answer)):
        raise message_not_found(request.id)


def _not_yours(field: str, name: str, agent: str, behind: str) -> MailroomError:
    asked = "every mailbox" if not name else name if name == behind else f"{name}, which is a session of {behind}"
    sentence = (
        f"{field}: this token is for {agent} and not for {asked}: use that agent's own token, or one made with --admin"
    )
    return MailroomError(Reason.NOT_YOURS, sentence, field=field)
