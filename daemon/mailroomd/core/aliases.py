"""Aliases — which name leads to which mailbox: a session's id changes with every start, an agent's name does not.

Owns the table of live aliases of one process, and the rule: mail for a session goes to its agent's mailbox, and who
reads under either name reads both mailboxes, so nothing that came before the alias is out of sight.
Pure: times are the caller's. Not here: where they are kept (`storage.database.alias_rows`).
"""

__all__ = ["Alias", "Aliases"]

from typing import NamedTuple

TIDY_FROM = 1000  # aliases; those that are over are forgotten when there are so many, and then at every doubling


class Alias(NamedTuple):
    """One alias; it ends at a moment in milliseconds since 1970."""

    session: str
    agent: str
    expires_ms: int


class Aliases:
    """Knows the aliases."""

    def __init__(self) -> None:
        self._by_session: dict[str, Alias] = {}
        self._sessions: dict[str, dict[str, None]] = {}
        self._tidy_at = TIDY_FROM

    def __len__(self) -> int:
        return len(self._by_session)

    def __contains__(self, session: str) -> bool:
        return session in self._by_session

    def set(self, alias: Alias, now_ms: int) -> None:
        """Takes an alias; one that ends at 0 is over."""
        if len(self) >= self._tidy_at:
            self.forget_expired(now_ms)
            self._tidy_at = max(TIDY_FROM, 2 * len(self))
        self._forget(alias.session)
        if alias.expires_ms:
            self._by_session[alias.session] = alias
            self._sessions.setdefault(alias.agent, {})[alias.session] = None

    def agent_of(self, name: str, now_ms: int) -> str:
        """Returns whose mailbox is behind a name: its own where it is no session of an agent."""
        alias = self._by_session.get(name)
        if alias is None:
            return name
        if alias.expires_ms <= now_ms:
            self._forget(name)
            return name
        return alias.agent

    def sessions_of(self, agent: str, now_ms: int) -> list[str]:
        """Returns the sessions that are an alias of an agent now."""
        return [name for name in list(self._sessions.get(agent, ())) if self.agent_of(name, now_ms) == agent]

    def mailboxes_of(self, name: str, now_ms: int) -> tuple[str, ...]:
        """Returns the mailboxes to be read under a name, the agent's own first."""
        if not self._by_session:
            return (name,)
        agent = self.agent_of(name, now_ms)
        return agent, *self.sessions_of(agent, now_ms)

    def forget_expired(self, now_ms: int) -> None:
        """Forgets the aliases that are over."""
        for alias in [one for one in self._by_session.values() if one.expires_ms <= now_ms]:
            self._forget(alias.session)

    def live(self, now_ms: int) -> list[Alias]:
        """Returns every alias that lasts."""
        return [one for one in self._by_session.values() if one.expires_ms > now_ms]

    def _forget(self, session: str) -> None:
        alias = self._by_session.pop(session, None)
        if alias is not None:
            sessions = self._sessions[alias.agent]
            del sessions[session]
            if not sessions:
                del self._sessions[alias.agent]
