"""Turns — decides whose request goes to the mailbox next, so that nobody's flood makes everybody wait.

Owns how many requests of one agent may be under way at once: many while it is alone (a large commit is a cheap one),
few while others ask, too. The rest of its requests wait here, in their order. Pure: the clock is the caller's.
Not here: how many may wait in all, and for how long (`Calls`).
Invariant: an agent that asks for one thing at a time never waits here.
"""

__all__ = ["MOST_ALONE", "MOST_BESIDE_OTHERS", "Turns"]

from collections.abc import Callable

MOST_ALONE = 256  # more make no larger commits; it is also what somebody who comes then waits for, some 30 ms
MOST_BESIDE_OTHERS = 32
ALONE_AFTER_SEC = 1.0  # without a request of anybody else


class _Agent:
    """What one agent asks for: the calls that wait, in their order, and how many are under way."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: dict[int, None] = {}


class Turns:
    """Gives turns.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._agents: dict[str, _Agent] = {}
        self._last: dict[str, float] = {}  # the two that asked or were answered last, and when

    def enter(self, name: str, call: int) -> bool:
        """Takes a call of an agent; returns whether it goes now. If not, a later `leave` says when."""
        agent = self._agents.setdefault(name, _Agent())
        self._note(name)
        if agent.waiting or agent.under_way >= self._most(name):
            agent.waiting[call] = None
            return False
        agent.under_way += 1
        return True

    def leave(self, name: str, call: int) -> list[int]:
        """Ends a call, under way or not; returns those that go now."""
        agent = self._agents[name]
        if call in agent.waiting:
            del agent.waiting[call]
        else:
            agent.under_way -= 1
        room = self._most(name) - agent.under_way
        going = [call for call, _ in zip(agent.waiting, range(room), strict=False)]
        for one in going:
            del agent.waiting[one]
        agent.under_way += len(going)
        if not agent.under_way:
            del self._agents[name]
        self._note(name)
        return going

    def is_waiting(self, name: str, call: int) -> bool:
        """Returns whether a call has not had its turn."""
        agent = self._agents.get(name)
        return agent is not None and call in agent.waiting

    def _is_alone(self, name: str) -> bool:
        """Returns whether nobody else asks now, or did a moment ago."""
        since = self._clock() - ALONE_AFTER_SEC
        others_ask = len(self._agents) > (name in self._agents)
        return not others_ask and all(when < since for other, when in self._last.items() if other != name)

    def _note(self, name: str) -> None:
        self._last.pop(name, None)
        self._last[name] = self._clock()
        if len(self._last) > 2:
            del self._last[next(iter(self._last))]

    def _most(self, name: str) -> int:
        return MOST_ALONE if self._is_alone(name) else MOST_BESIDE_OTHERS
