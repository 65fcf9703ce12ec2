"""Aliases — which mailbox a name leads to: a session's id changes with every start, an agent's name does not.

Owns one process's table of live aliases, and the rule: mail for a session goes to its agent's mailbox, and a reader
under either name reads both mailboxes, so mail that arrived before the alias was set stays visible.
Pure: the caller passes in the time. Not here: their storage (`storage.database.alias_rows`).
"""

__all__ = ["Alias", "Aliases", "PendingAliases"]

from collections import Counter
from typing import NamedTuple

SWEEP_FROM = 1000  # aliases; expired ones are removed when there are this many, and then at every doubling


class Alias(NamedTuple):
    """One alias; it expires at a time in milliseconds since 1970."""

    session: str
    agent: str
    expires_ms: int


class PendingAliases:
    """Aliases that are being stored: they lead nowhere yet, but count towards limits and conflicts.

    Without them, requests that arrive together could exceed a limit, or lead an alias to another alias.
    """

    def __init__(self) -> None:
        self._by_agent = Counter[str]()
        self._by_session = Counter[str]()

    def __len__(self) -> int:
        return self._by_session.total()

    def begin(self, session: str, agent: str) -> None:
        """Counts an alias whose command was submitted."""
        self._by_agent[agent] += 1
        self._by_session[session] += 1

    def end(self, session: str, agent: str) -> None:
        """Counts the alias no longer: its command is resolved."""
        for counter, name in ((self._by_agent, agent), (self._by_session, session)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def count_of(self, agent: str) -> int:
        """Returns how many pending aliases lead to an agent."""
        return self._by_agent[agent]

    def is_session(self, name: str) -> bool:
        """Returns whether a name is about to become a session of an agent."""
        return name in self._by_session


class Aliases:
    """The aliases that a process knows."""

    def __init__(self) -> None:
        self._by_session: dict[str, Alias] = {}
        self._sessions: dict[str, dict[str, None]] = {}
        self._sweep_at = SWEEP_FROM

    def __len__(self) -> int:
        return len(self._by_session)

    def __contains__(self, session: str) -> bool:
        return session in self._by_session

    def set_alias(self, alias: Alias, now_ms: int) -> None:
        """Sets a session's alias, or ends it if `expires_ms` is 0."""
        if len(self) >= self._sweep_at:
            self.remove_expired(now_ms)
            self._sweep_at = max(SWEEP_FROM, 2 * len(self))
        self._remove(alias.session)
        if alias.expires_ms:
            self._by_session[alias.session] = alias
            self._sessions.setdefault(alias.agent, {})[alias.session] = None

    def agent_of(self, name: str, now_ms: int) -> str:
        """Returns the agent behind a session, or the name itself if it is not an alias."""
        alias = self._by_session.get(name)
        if alias is None:
            return name
        if alias.expires_ms <= now_ms:
            self._remove(name)
            return name
        return alias.agent

    def sessions_of(self, agent: str, now_ms: int) -> list[str]:
        """Returns the sessions that are currently aliases of an agent."""
        return [name for name in list(self._sessions.get(agent, ())) if self.agent_of(name, now_ms) == agent]

    def session_count(self, agent: str) -> int:
        """Returns how many sessions are aliases of an agent, including expired ones that are not removed yet."""
        return len(self._sessions.get(agent, ()))

    def mailboxes_of(self, name: str, now_ms: int) -> tuple[str, ...]:
        """Returns the mailboxes that a reader under this name reads, the agent's own first."""
        if not self._by_session:
            return (name,)
        agent = self.agent_of(name, now_ms)
        return agent, *self.sessions_of(agent, now_ms)

    def remove_expired(self, now_ms: int) -> None:
        """Removes expired aliases."""
        for alias in [alias for alias in self._by_session.values() if alias.expires_ms <= now_ms]:
            self._remove(alias.session)

    def live(self, now_ms: int) -> list[Alias]:
        """Returns the aliases that have not expired."""
        return [alias for alias in self._by_session.values() if alias.expires_ms > now_ms]

    def _remove(self, session: str) -> None:
        alias = self._by_session.pop(session, None)
        if alias is not None:
            sessions = self._sessions[alias.agent]
            del sessions[session]
            if not sessions:
                del self._sessions[alias.agent]
