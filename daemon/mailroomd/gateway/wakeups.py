"""Wakeups — wake the streams and waiting calls of a mailbox when there is something new.

Owns who waits for which mailbox in this gateway, or for receipts under which sender's name. A bell says only "look
again": what there is, is read by a cursor, so a bell that rings twice, or for nothing, is harmless, and no message ever
waits in a queue.
"""

__all__ = ["EVERYTHING", "Waiter", "Wakeups", "causes"]

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from enum import Enum, auto


class Topic(Enum):
    """What a name may be waited for."""

    MAIL = auto()
    RECEIPTS = auto()


Cause = tuple[Topic, str] | None  # None: anything
EVERYTHING: frozenset[Cause] = frozenset({None})


def causes(mailboxes: Iterable[str], *, receipts: bool = False) -> frozenset[Cause]:
    """Returns what a reader of these mailboxes waits for."""
    names = list(mailboxes)
    mail: set[Cause] = {(Topic.MAIL, name) for name in names}
    return frozenset(mail | {(Topic.RECEIPTS, name) for name in names if receipts})


class Waiter(asyncio.Event):
    """Rings for one waiting stream or call.

    Attributes:
        topics: what it rings for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.topics: frozenset[Cause] = frozenset()

    async def wait_and_reset(self) -> None:
        """Returns when it has rung since the last time."""
        await self.wait()
        self.clear()

    async def rings_before(self, until: float) -> bool:
        """Waits for the bell; returns whether it rang before a moment on the loop's clock."""
        if asyncio.get_running_loop().time() >= until:
            return False
        try:
            async with asyncio.timeout_at(until):
                await self.wait_and_reset()
        except TimeoutError:
            return False
        return True


class Wakeups:
    """All wakeups of one gateway.

    Args:
        on_count: told how many live subscribers an agent has, each time that changes.

    Attributes:
        streams_ended: since whoever counts them set it to 0.
    """

    def __init__(self, on_count: Callable[[str, int], None]) -> None:
        self.streams_ended = 0
        self._on_count = on_count
        self._wakeups: dict[Cause, set[Waiter]] = {}
        self._subscribers: Counter[str] = Counter()

    @contextmanager
    def hung(self, wanted: frozenset[Cause]) -> Generator[Waiter]:
        """Gives a bell that rings for this."""
        bell = Waiter()
        self.hang(bell, wanted)
        try:
            yield bell
        finally:
            self.hang(bell, frozenset())

    def hang(self, bell: Waiter, wanted: frozenset[Cause]) -> None:
        """Makes a bell notify for this and nothing else from now on."""
        for cause in bell.topics - wanted:
            self._wakeups[cause].discard(bell)
            if not self._wakeups[cause]:
                del self._wakeups[cause]
        for cause in wanted - bell.topics:
            self._wakeups.setdefault(cause, set()).add(bell)
        bell.topics = wanted

    @contextmanager
    def subscriber(self, agent: str) -> Generator[None]:
        """Counts a live subscriber while the context lasts."""
        self._count(agent, 1)
        try:
            yield
        finally:
            self._count(agent, -1)

    def note_stream_ended(self) -> None:
        """Counts a stream that ended."""
        self.streams_ended += 1

    def subscribers(self) -> list[tuple[str, int]]:
        """Returns how many live subscribers each agent has."""
        return list(self._subscribers.items())

    def notify(self, mailboxes: Iterable[str], senders: Iterable[str]) -> None:
        """Wakes who waits for mail of these mailboxes, or for receipts under these names; everyone if none is named."""
        rung = causes(mailboxes) | {(Topic.RECEIPTS, name) for name in senders}
        for cause in rung | EVERYTHING if rung else list(self._wakeups):
            for bell in self._wakeups.get(cause, ()):
                bell.set()

    def notify_all(self) -> None:
        """Wakes everyone."""
        self.notify((), ())

    def _count(self, agent: str, step: int) -> None:
        self._subscribers[agent] += step
        self._on_count(agent, self._subscribers[agent])
        if not self._subscribers[agent]:
            del self._subscribers[agent]
