"""HostPolicy — which other hosts may write to which agents here (`--hub-accept`, `--hub-deny`).

Owns the rules' form: HOST, or HOST=AGENT, with `*` and `?` as in file names. A denied host is refused whatever accepts
it; where anything is accepted, everything else is refused. Not here: what becomes of a refused message (the mailbox).
"""

__all__ = ["HostPolicy"]

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase


class HostPolicy:
    """Decides which mail of other hosts is taken.

    Args:
        accept: rules; none of them: everything is accepted.
        deny: rules.
    """

    def __init__(self, accept: Sequence[str], deny: Sequence[str]) -> None:
        self._accept = accept
        self._deny = deny

    def refusal(self, host: str, agent: str) -> str:
        """Returns why a host may not write to an agent, as a sentence; "" if it may."""
        if any(_matches(rule, host, agent) for rule in self._deny):
            return f"host {host} may not write to {agent} here (--hub-deny of the receiving host)"
        if self._accept and not any(_matches(rule, host, agent) for rule in self._accept):
            return f"host {host} may not write to {agent} here (--hub-accept of the receiving host)"
        return ""

    def unmatched(self, hosts: Collection[str]) -> list[str]:
        """Returns the rules that match none of these hosts: they may be misspelled."""
        rules = (*self._accept, *self._deny)
        return [rule for rule in rules if not any(fnmatchcase(host, rule.partition("=")[0]) for host in hosts)]


def _matches(rule: str, host: str, agent: str) -> bool:
    hosts, _, agents = rule.partition("=")
    return fnmatchcase(host, hosts) and fnmatchcase(agent, agents or "*")
