"""HostPolicy — which other hosts may write to which agents here (`--hub-accept`, `--hub-deny`).

Owns the rules' form: HOST, or HOST=AGENT, with `*` and `?` as in file names. A denied host is refused whatever accepts
it. Not here: what becomes of a refused message (the mailbox).
"""

__all__ = ["HostPolicy"]

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase


class HostPolicy:
    """Decides which mail of other hosts is taken.

    Args:
        accept: rules; "*" accepts everything.
        deny: rules; "" denies nothing.
    """

    def __init__(self, accept: Sequence[str], deny: Sequence[str]) -> None:
        self._accept = accept
        self._deny = deny

    def refusal(self, host: str, agent: str) -> str:
        """Returns why a host may not write to an agent, as a sentence; "" if it may."""
        if any(_matches(rule, host, agent) for rule in self._deny):
            return f"host {host} may not write to {agent} here (--hub-deny of the receiving host)"
        if not any(_matches(rule, host, agent) for rule in self._accept):
            return f"host {host} may not write to {agent} here (--hub-accept of the receiving host)"
        return ""

    def unmatched(self, hosts: Collection[str]) -> list[str]:
        """Returns the rules that match none of these hosts: they may be misspelled."""
        patterns = {rule: rule.partition("=")[0] for rule in (*self._accept, *self._deny)}
        return [
            rule
            for rule, pattern in patterns.items()
            if pattern.strip("*") and not any(fnmatchcase(host, pattern) for host in hosts)
        ]


def _matches(rule: str, host: str, agent: str) -> bool:
    hosts, _, agents = rule.partition("=")
    return fnmatchcase(host, hosts) and fnmatchcase(agent, agents or "*")
