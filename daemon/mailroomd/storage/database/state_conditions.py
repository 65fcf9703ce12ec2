"""State conditions — delivery states by name in SQL.

The texts equal the conditions of the partial indexes (`storage.database.schema`), so that SQLite uses these indexes.
"""

__all__ = ["ENDED", "EXPIRED", "FILED", "NOT_OFFERED", "OFFERED", "READ", "STORED", "UNREAD"]

from typing import Final

from mailroomd.model.states import DeliveryState

STORED: Final = f"{DeliveryState.STORED:d}"
FILED: Final = f"{DeliveryState.FILED:d}"
OFFERED: Final = f"{DeliveryState.OFFERED:d}"
READ: Final = f"{DeliveryState.READ:d}"
EXPIRED: Final = f"{DeliveryState.EXPIRED:d}"

UNREAD: Final = f"state < {READ}"
ENDED: Final = f"state >= {READ}"
NOT_OFFERED: Final = f"state < {OFFERED}"
