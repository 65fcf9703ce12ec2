"""Damaged rows — rows of messages that no version of the daemon writes: set aside, while the rest goes on.

Owns the test of a stored state, and the log of what is set aside: each row once, and a bounded number of rows. Not
here: the other columns (`rows`), pages that SQLite cannot read (`connection.is_damaged`).
Invariant: nothing is deleted because of a row that is set aside: neither the row nor its inbox file, which may be the
last copy of the message. Only its recipient ends it, by acknowledging it, taking its file or clearing the mailbox.
"""

__all__ = ["has_ended", "is_known_state", "is_unread", "set_aside"]

from mailroomd.model.ids import format_id
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import DamagedRow

LOGGED_MOST = 100  # rows that are logged one by one in each process
_UNREAD = frozenset(state.value for state in DeliveryState if state.is_unread)
_ENDED = frozenset({DeliveryState.READ.value, DeliveryState.EXPIRED.value, DeliveryState.RETURNED.value})
_logged: set[object] = set()


def is_unread(state: object) -> bool:
    """Returns whether a stored state says that the message waits for its recipient."""
    return state in _UNREAD


def has_ended(state: object) -> bool:
    """Returns whether a stored state says that the message is read, expired or returned."""
    return state in _ENDED


def is_known_state(state: object) -> bool:
    """Returns whether the daemon writes such a state."""
    return state in _UNREAD or state in _ENDED


def set_aside(message_id: object, error: DamagedRow) -> None:
    """Logs that the row of a message is damaged and not used; once for each message."""
    if message_id in _logged or len(_logged) > LOGGED_MOST:
        return
    _logged.add(message_id)
    if len(_logged) > LOGGED_MOST:
        log.error("further damaged rows are not logged one by one: run `mailroom doctor`")
        return
    shown = format_id(message_id) if isinstance(message_id, int) else repr(message_id)
    log.error("damaged row set aside: run `mailroom doctor`", message_id=shown, error=str(error))
