"""LoopGuard — decides whether two agents answer each other endlessly.

Owns, per pair of agents, a count of the messages that alternate between them, in windows of one minute. One-way traffic
never counts. Pure: the caller passes in the time. Bounded: pairs that were quiet for a minute are forgotten first.
"""

__all__ = ["LoopGuard"]

WINDOW_MS = 60_000
MAX_PAIRS = 10_000  # pairs that are watched at once


class _Exchange:
    """What one pair did in its current window."""

    __slots__ = ("count", "last_sender", "window_start_ms")

    def __init__(self, now_ms: int) -> None:
        self.count = 0
        self.last_sender = ""
        self.window_start_ms = now_ms


class LoopGuard:
    """Counts alternating messages per pair.

    Args:
        limit_per_min: alternating messages that a pair may exchange in a minute; 0 switches the guard off. It may be
            changed at any time.
    """

    def __init__(self, limit_per_min: int) -> None:
        self.limit_per_min = limit_per_min
        self._pairs: dict[tuple[str, str], _Exchange] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def admit(self, sender: str, recipient: str, now_ms: int) -> int:
        """Counts one message.

        Args:
            sender: an agent.
            recipient: an agent.
            now_ms: monotonic milliseconds.

        Returns:
            0 if the message may pass; otherwise the milliseconds until the pair may continue.
        """
        if not self.limit_per_min or sender == recipient:
            return 0
        pair = (sender, recipient) if sender < recipient else (recipient, sender)
        exchange = self._pairs.get(pair)
        if exchange is None:
            exchange = self._pairs[pair] = _Exchange(now_ms)
            self._forget_quiet_pairs(now_ms)
        elif now_ms - exchange.window_start_ms >= WINDOW_MS:
            exchange.count = 0
            exchange.window_start_ms = now_ms
        if exchange.count >= self.limit_per_min:  # both agents have to wait, including the last sender
            return exchange.window_start_ms + WINDOW_MS - now_ms
        if exchange.last_sender == sender:
            return 0
        exchange.count += 1
        exchange.last_sender = sender
        return 0

    def _forget_quiet_pairs(self, now_ms: int) -> None:
        if len(self._pairs) <= MAX_PAIRS:
            return
        quiet = [pair for pair, exchange in self._pairs.items() if now_ms - exchange.window_start_ms >= WINDOW_MS]
        for pair in quiet or list(self._pairs)[: MAX_PAIRS // 10]:
            del self._pairs[pair]
