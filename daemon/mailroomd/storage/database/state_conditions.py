"""State conditions — delivery states by name in SQL.

The texts equal the conditions of the partial indexes (`storage.database.schema`), so that SQLite uses these indexes.
A damaged row may have a state that does not exist; KNOWN_UNREAD and KNOWN_ENDED leave it out. Each implies the
condition of an index, but SQLite does not see that: use it together with UNREAD or ENDED.
"""

__all__ = [
    "ENDED",
    "EXPIRED",
    "FILED",
    "KNOWN_ENDED",
    "KNOWN_UNREAD",
    "NOT_OFFERED",
    "OFFERED",
    "OVERDUE",
    "READ",
    "RETURNED",
    "STORED",
    "UNREAD",
]

from typing import Final

from mailroomd.model.states import DeliveryState

STORED: Final = f"{DeliveryState.STORED:d}"
FILED: Final = f"{DeliveryState.FILED:d}"
OFFERED: Final = f"{DeliveryState.OFFERED:d}"
READ: Final = f"{DeliveryState.READ:d}"
EXPIRED: Final = f"{DeliveryState.EXPIRED:d}"
OVERDUE: Final = f"{DeliveryState.OVERDUE:d}"
RETURNED: Final = f"{DeliveryState.RETURNED:d}"

UNREAD: Final = f"state < {READ}"
ENDED: Final = f"state >= {READ}"
NOT_OFFERED: Final = f"state < {OFFERED}"
KNOWN_UNREAD: Final = f"state IN ({STORED}, {FILED}, {OFFERED})"
KNOWN_ENDED: Final = f"state IN ({READ}, {EXPIRED}, {RETURNED})"
