"""LoopGuard — decides whether two agents answer each other endlessly.

Owns, per pair of agents, a count of the messages that alternate between them, in windows of one minute. One-way traffic
never counts. Pure: the caller passes in the time. Bounded, at a constant cost per message: when too many pairs are
watched, those that have only been heard from one side are forgotten first, so a flood of messages to made-up names
cannot hide a loop.
"""

__all__ = ["LoopGuard"]

from collections import OrderedDict

WINDOW_MS = 60_000
MAX_PAIRS = 10_000  # pairs that are watched at once

Pair = tuple[str, str]


class _Exchange:
    """What one pair did in its current window."""

    __slots__ = ("count", "last_sender", "window_start_ms")

    def __init__(self, now_ms: int) -> None:
        self.count = 0
        self.last_sender = ""
        self.window_start_ms = now_ms

    def is_quiet(self, now_ms: int) -> bool:
        return now_ms - self.window_start_ms >= WINDOW_MS


class LoopGuard:
    """Counts alternating messages per pair.

    Args:
        limit_per_min: alternating messages that a pair may exchange in a minute; 0 switches the guard off. It may be
            changed at any time.
    """

    def __init__(self, limit_per_min: int) -> None:
        self.limit_per_min = limit_per_min
        self._one_way: OrderedDict[Pair, _Exchange] = OrderedDict()  # by window start, oldest first
        self._alternating: OrderedDict[Pair, _Exchange] = OrderedDict()

    def __len__(self) -> int:
        return len(self._one_way) + len(self._alternating)

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
        exchange = self._exchange_of(pair, now_ms)
        if exchange.count >= self.limit_per_min:  # both agents have to wait, including the last sender
            return exchange.window_start_ms + WINDOW_MS - now_ms
        if exchange.last_sender == sender:
            return 0
        exchange.count += 1
        exchange.last_sender = sender
        if exchange.count == 2:
            self._one_way.pop(pair, None)
            self._alternating[pair] = exchange
        return 0

    def _exchange_of(self, pair: Pair, now_ms: int) -> _Exchange:
        """Returns what a pair did in its window, which starts now if the pair is new or was quiet."""
        exchange = self._alternating.get(pair) or self._one_way.get(pair)
        if exchange is None:
            exchange = self._one_way[pair] = _Exchange(now_ms)
            if len(self) > MAX_PAIRS:
                self._forget_one(now_ms)
        elif exchange.is_quiet(now_ms):
            exchange.count = 0
            exchange.window_start_ms = now_ms
            self._alternating.pop(pair, None)
            self._one_way[pair] = exchange
            self._one_way.move_to_end(pair)
        return exchange

    def _forget_one(self, now_ms: int) -> None:
        """Forgets the oldest pair that is quiet or one-way; only if there is none, the oldest of all."""
        oldest = next(iter(self._alternating.values()), None)
        is_replaceable = len(self._one_way) > 1  # the newest one is being counted now
        if oldest is not None and (oldest.is_quiet(now_ms) or not is_replaceable):
            self._alternating.popitem(last=False)
        else:
            self._one_way.popitem(last=False)
