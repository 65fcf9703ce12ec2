"""Activity — how many messages each agent got and sent in the last hour, as they pass through the feed.

In memory only: a new process begins with nothing. Not here: who talks to whom in longer periods (`traffic`).
"""

__all__ = ["Activity"]

import time
from typing import Any

from mailroom.messages import Message

MINUTES = 60
BARS = 12  # of five minutes each
MAX_AGENTS = 2_000  # beyond, new names are not counted until others have been quiet for an hour
_QUIET: dict[str, Any] = {"in": 0, "out": 0, "bars": [0] * BARS}


class Activity:
    """Counts by agent and minute."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, list[int]]] = {}
        self._pruned_at = 0

    def record(self, message: Message) -> None:
        """Counts one message, at its own time: it may come from a replay."""
        minute = int(message.timestamp.timestamp() if message.timestamp else time.time()) // 60
        for name, side in ((message.recipient, 0), (message.sender, 1)):
            if name in self._counts or len(self._counts) < MAX_AGENTS:
                self._counts.setdefault(name, {}).setdefault(minute, [0, 0])[side] += 1

    def of(self, agent: str, now: float) -> dict[str, Any]:
        """Returns the messages in and out of the last hour, and both together in bars of five minutes, oldest first.

        Args:
            agent: its name.
            now: seconds since 1970.
        """
        end = int(now) // 60
        self._prune(end)
        counts = self._counts.get(agent)
        if counts is None:
            return _QUIET
        bars = [0] * BARS
        for minute, (got, sent) in counts.items():
            bars[min(BARS - 1, (minute - end + MINUTES - 1) * BARS // MINUTES)] += got + sent
        got, sent = (sum(pair[side] for pair in counts.values()) for side in (0, 1))
        return {"in": got, "out": sent, "bars": bars}

    def _prune(self, end: int) -> None:
        """Forgets what is older than an hour, once a minute."""
        if self._pruned_at == end:
            return
        self._pruned_at = end
        for name, counts in list(self._counts.items()):
            for minute in [minute for minute in counts if minute <= end - MINUTES]:
                del counts[minute]
            if not counts:
                del self._counts[name]
