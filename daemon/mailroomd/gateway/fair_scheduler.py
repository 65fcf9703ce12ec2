"""FairScheduler — decides whose request goes to the mailbox next, so that nobody's flood makes everybody wait.

Owns how many requests of one agent may be under way at once: many while it is alone (a large commit is a cheap one),
one while others ask, too. The rest of its requests wait here, in their order. Pure: the clock is the caller's.
Not here: how many may wait in all, and for how long (`MailboxClient`).
Invariant: an agent that asks for one thing at a time never waits here.
"""

__all__ = ["MOST_ALONE", "MOST_BESIDE_OTHERS", "MOST_OF_A_BATCH", "FairScheduler", "FlowKey"]

from collections.abc import Callable
from typing import NamedTuple

MOST_ALONE = 256  # more make no larger commits; it is also what somebody who comes then waits for, some 30 ms
# So few that they are stored more slowly than the gateway could take calls in: else those that are not stored yet would
# wait in front of it, where nobody can pass. Already with 2 the others' p99 is six times that of a quiet mail room.
MOST_BESIDE_OTHERS = 1
MOST_OF_A_BATCH = 64  # beside others; a batch is one call, so there is nothing in front of the gateway
ALONE_AFTER_SEC = 1.0  # without a request of anybody else


class FlowKey(NamedTuple):
    """Where a call waits: with the others of its agent, those of batches by themselves."""

    agent: str
    in_batch: bool = False


class _Queue:
    """The calls of one lane: those that wait, in their order, and how many are under way."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: dict[int, None] = {}


class FairScheduler:
    """Gives turns.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lanes: dict[FlowKey, _Queue] = {}
        self._last: dict[FlowKey, float] = {}  # the two that asked or were answered last, and when

    def enter(self, lane: FlowKey, call: int) -> bool:
        """Takes a call of an agent; returns whether it goes now. If not, a later `leave` says when."""
        queue = self._lanes.setdefault(lane, _Queue())
        self._note(lane)
        if queue.waiting or queue.under_way >= self._most(lane):
            queue.waiting[call] = None
            return False
        queue.under_way += 1
        return True

    def leave(self, lane: FlowKey, call: int) -> list[int]:
        """Ends a call, under way or not; returns those that go now."""
        queue = self._lanes[lane]
        if call in queue.waiting:
            del queue.waiting[call]
        else:
            queue.under_way -= 1
        room = self._most(lane) - queue.under_way
        going = [call for call, _ in zip(queue.waiting, range(room), strict=False)]
        for one in going:
            del queue.waiting[one]
        queue.under_way += len(going)
        if not queue.under_way:
            del self._lanes[lane]
        self._note(lane)
        return going

    def is_waiting(self, lane: FlowKey, call: int) -> bool:
        """Returns whether a call has not had its turn."""
        queue = self._lanes.get(lane)
        return queue is not None and call in queue.waiting

    def _is_alone(self, lane: FlowKey) -> bool:
        """Returns whether nobody else asks now, or did a moment ago."""
        since = self._clock() - ALONE_AFTER_SEC
        others_ask = len(self._lanes) > (lane in self._lanes)
        return not others_ask and all(when < since for other, when in self._last.items() if other != lane)

    def _note(self, lane: FlowKey) -> None:
        self._last.pop(lane, None)
        self._last[lane] = self._clock()
        if len(self._last) > 2:
            del self._last[next(iter(self._last))]

    def _most(self, lane: FlowKey) -> int:
        if self._is_alone(lane):
            return MOST_ALONE
        return MOST_OF_A_BATCH if lane.in_batch else MOST_BESIDE_OTHERS
