"""LoopGuard — decides whether two agents answer each other for ever.

Owns a count per pair of agents of the messages that alternate within it, in windows of one minute. One-way traffic
never counts. Bounded: pairs that were quiet for a minute are forgotten.
"""

__all__ = ["LoopGuard"]

WINDOW_MS = 60_000
MAX_PAIRS = 10_000  # pairs that are watched at once; the quiet ones go first


class _Exchange:
    """What one pair did in the current window."""

    __slots__ = ("count", "last_sender", "window_start_ms")

    def __init__(self, now_ms: int) -> None:
        self.count = 0
        self.last_sender = ""
        self.window_start_ms = now_ms


class LoopGuard:
    """Counts alternating messages per pair.

    Args:
        limit_per_min: alternating messages that a pair may exchange in a minute; 0 switches the guard off. It may be
            set anew at any time.
    """

    def __init__(self, limit_per_min: int) -> None:
        self.limit_per_min = limit_per_min
        self._pairs: dict[tuple[str, str], _Exchange] = {}

    def admit(self, sender: str, recipient: str, now_ms: int) -> int:
        """Takes note of one message.

        Args:
            now_ms: monotonic milliseconds.

        Returns:
            0 if it may pass, else the milliseconds until the pair may go on.
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
        if exchange.count >= self.limit_per_min:  # both have to wait, also the one that was last
            return exchange.window_start_ms + WINDOW_MS - now_ms
        if exchange.last_sender == sender:
            return 0
        exchange.count += 1
        exchange.last_sender = sender
        return 0

    def _forget_quiet_pairs(self, now_ms: int) -> None:
        if len(self._pairs) <= MAX_PAIRS:
            return
        quiet = [pair for pair, one in self._pairs.items() if now_ms - one.window_start_ms >= WINDOW_MS]
        for pair in quiet or list(self._pairs)[: MAX_PAIRS // 10]:
            del self._pairs[pair]
