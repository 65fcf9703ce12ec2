"""Bells — wake the streams and waiting calls of a mailbox when there is something new.

Owns who waits for which mailbox in this gateway. A bell says only "look again": what there is, is read from the table
by a cursor, so a bell that rings twice, or for nothing, is harmless, and no message ever waits in a queue.
"""

__all__ = ["Bell", "Bells"]

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager


class Bell(asyncio.Event):
    """Rings for one waiting stream or call."""

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


class Bells:
    """All bells of one gateway.

    Args:
        on_count: told how many live subscribers an agent has, each time that changes.
    """

    def __init__(self, on_count: Callable[[str, int], None]) -> None:
        self._on_count = on_count
        self._bells: dict[str | None, set[Bell]] = {}
        self._subscribers: Counter[str] = Counter()

    @contextmanager
    def hung_for(self, agent: str | None) -> Generator[Bell]:
        """Gives a bell that rings for an agent's mailbox, or for every mailbox."""
        bell = Bell()
        self._bells.setdefault(agent, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[agent].discard(bell)
            if not self._bells[agent]:
                del self._bells[agent]

    @contextmanager
    def subscriber(self, agent: str) -> Generator[None]:
        """Counts a live subscriber while the context lasts."""
        self._count(agent, 1)
        try:
            yield
        finally:
            self._count(agent, -1)

    def subscribers(self) -> list[tuple[str, int]]:
        """Returns how many live subscribers each agent has."""
        return list(self._subscribers.items())

    def ring(self, mailboxes: Iterable[str]) -> None:
        """Wakes who waits for these mailboxes; everyone if none is named."""
        named = list(mailboxes)
        for agent in [*named, None] if named else list(self._bells):
            for bell in self._bells.get(agent, ()):
                bell.set()

    def ring_all(self) -> None:
        """Wakes everyone."""
        self.ring(())

    def _count(self, agent: str, step: int) -> None:
        self._subscribers[agent] += step
        self._on_count(agent, self._subscribers[agent])
        if not self._subscribers[agent]:
            del self._subscribers[agent]
