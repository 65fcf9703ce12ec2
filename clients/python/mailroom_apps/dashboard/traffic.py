"""Traffic — who sent how much to whom in a period, as the daemon counts it, for the page."""

__all__ = ["count_traffic"]

import time
from datetime import datetime
from typing import Any

from mailroom.aio import AsyncMailroom
from mailroom.records import iso_utc

MAX_LATE_SEC = 1.0  # of a count that begins where the period does


async def count_traffic(client: AsyncMailroom, period_sec: float) -> dict[str, Any]:
    """Returns the number of messages by sender and recipient, and since when they are counted.

    Raises:
        MailroomError: the daemon does not answer.
    """
    traffic = await client.traffic(period_sec)
    return {
        "pairs": [{"from": pair.sender, "to": pair.recipient, "count": pair.messages} for pair in traffic.pairs],
        "messages": traffic.messages,
        "since": iso_utc(traffic.since) if traffic.since else None,
        "complete": _is_complete(traffic.since, period_sec),
    }


def _is_complete(since: datetime | None, period_sec: float) -> bool:
    """Returns whether a count reaches back to the beginning of its period."""
    return since is not None and time.time() - since.timestamp() >= period_sec - MAX_LATE_SEC
