"""AliasCache — this gateway's copy of the aliases, kept up to date by the mailbox.

Above: the servicers; below: `core.aliases`, which has the rule.
"""

__all__ = ["AliasCache"]

from collections.abc import Sequence

from mailroomd.core.aliases import Alias, Aliases
from mailroomd.model.clock import now_ms
from mailroomd.protocol.packets import AliasChanged


class AliasCache:
    """Resolves names to agents and mailboxes."""

    def __init__(self) -> None:
        self._aliases = Aliases()

    def apply(self, changed: AliasChanged) -> None:
        """Applies a change of an alias."""
        self._aliases.set_alias(Alias(changed.session, changed.agent, changed.expires_ms), now_ms())

    def agent_of(self, name: str) -> str:
        """Returns the agent behind a name: the name itself unless it is a session's alias."""
        return self._aliases.agent_of(name, now_ms())

    def mailboxes_of(self, name: str) -> Sequence[str]:
        """Returns the mailboxes that are read under a name, the agent's own first."""
        return self._aliases.mailboxes_of(name, now_ms())

    def sessions_of(self, agent: str) -> list[str]:
        """Returns the sessions that are aliases of an agent now."""
        return self._aliases.sessions_of(agent, now_ms())
