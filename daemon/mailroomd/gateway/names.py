"""Names — which mailboxes a name stands for in this gateway, as the mailbox tells it.

Owns this gateway's copy of the aliases. Above: the servicers; below: `core.aliases`, which has the rule.
"""

__all__ = ["Names"]

from collections.abc import Sequence

from mailroomd.core.aliases import Alias, Aliases
from mailroomd.model.clock import now_ms
from mailroomd.protocol.packets import AliasChanged


class Names:
    """Resolves names."""

    def __init__(self) -> None:
        self._aliases = Aliases()

    def hear(self, changed: AliasChanged) -> None:
        """Takes a change of an alias."""
        self._aliases.set_alias(Alias(changed.session, changed.agent, changed.expires_ms), now_ms())

    def agent_of(self, name: str) -> str:
        """Returns whose mailbox is behind a name."""
        return self._aliases.agent_of(name, now_ms())

    def mailboxes_of(self, name: str) -> Sequence[str]:
        """Returns the mailboxes to be read under a name, the agent's own first."""
        return self._aliases.mailboxes_of(name, now_ms())

    def sessions_of(self, agent: str) -> list[str]:
        """Returns the sessions that are an alias of an agent now."""
        return self._aliases.sessions_of(agent, now_ms())
