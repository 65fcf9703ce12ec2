"""MessageFilter — which messages a list has. Pure.

Not here: the mailbox and the page (`gateway.request_parsing`), how the database applies it (`storage.database`).
"""

__all__ = ["MessageFilter"]

from typing import NamedTuple

from mailroomd.model.states import DeliveryState


class MessageFilter(NamedTuple):
    """Which messages a list has; by default all of them.

    Attributes:
        unread_only: omit messages that are read or expired.
        thread_id: only messages of this thread; "" for all.
        query: only messages that match it, see `match_expression`; "" for all.
        sender: only messages of this sender; "" for all.
        states: only messages in one of these states; None for all.
    """

    unread_only: bool = False
    thread_id: str = ""
    query: str = ""
    sender: str = ""
    states: frozenset[DeliveryState] | None = None

    @property
    def is_search(self) -> bool:
        """Whether finding a page may mean to look at any number of other messages."""
        return bool(self.query or self.sender) or self.states is not None

    def has_state(self, state: DeliveryState) -> bool:
        """Returns whether messages in a state are wanted."""
        return (state.is_unread or not self.unread_only) and (self.states is None or state in self.states)
