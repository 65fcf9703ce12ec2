"""Access — decides who may make a call, by the rule of its RPC.

Owns the meaning of a rule. The owner and administrators may do everything; an agent may do what concerns itself. The
names that a rule calls `own` must all belong to the agent: its own name, or a session that is an alias of it.
Not here: the rules (`gateway.rpcs`, one row per RPC), who the caller is (`auth.authentication`), how much it may do
(`gateway.client_limits`).
"""

__all__ = ["NamesByField", "Rule", "check_access", "may_see_message"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mailroomd.auth.authentication import token_missing
from mailroomd.auth.caller import Caller, Role
from mailroomd.model.errors import MailroomError, Reason

NamesByField = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may make a call.

    Attributes:
        agents_may: what an agent's token allows, in the words of SECURITY.md.
        own: returns the names in a request, each with its field, that must belong to the agent.
        is_for_agents: whether an agent's token allows anything.
        is_rechecked: check the caller again before the response, which carries what others have written: meanwhile the
            token may have been revoked, or an alias may have moved.
        is_public: also for callers without a token.
    """

    agents_may: str
    own: Callable[[Any], NamesByField] = lambda _: ()
    is_for_agents: bool = True
    is_rechecked: bool = False
    is_public: bool = False


def check_access(rpc: str, rule: Rule, caller: Caller, request: object, agent_of: Callable[[str], str]) -> None:
    """Checks that a caller may make a request.

    Args:
        rpc: the RPC's name.
        rule: the RPC's rule.
        caller: who makes the request.
        request: the request; None while it has not been read.
        agent_of: returns the agent behind a name.

    Raises:
        MailroomError: TOKEN_MISSING, NOT_YOURS or ADMIN_ONLY.
    """
    if caller.role is Role.OWNER or caller.role is Role.ADMIN:
        return
    if rule.is_public:
        return
    if caller.role is Role.ANONYMOUS:
        raise token_missing()
    if not rule.is_for_agents:
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
