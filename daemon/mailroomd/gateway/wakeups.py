"""Wakeups — wakes the streams and waiting calls of a mailbox when there is something new.

Owns who waits for which topic in this gateway. A notification only says "read again": the reader has a cursor, so a
repeated or needless notification is harmless, and no message ever waits in a queue here.
"""

__all__ = ["ALL_TOPICS", "Topic", "Waiter", "Wakeups", "topics_of"]

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from enum import Enum, auto


class Kind(Enum):
    """What can be waited for under a name."""

    MAIL = auto()  # in the mailbox of this name
    RECEIPTS = auto()  # for messages that were sent under this name


Topic = tuple[Kind, str] | None  # None stands for every topic
ALL_TOPICS: frozenset[Topic] = frozenset({None})


def topics_of(mailboxes: Iterable[str], *, receipts: bool = False) -> frozenset[Topic]:
    """Returns the topics of a reader of these mailboxes, with receipts for their names if wanted."""
    names = list(mailboxes)
    mail: set[Topic] = {(Kind.MAIL, name) for name in names}
    return frozenset(mail | {(Kind.RECEIPTS, name) for name in names if receipts})


class Waiter(asyncio.Event):
    """Waits on behalf of one stream or call.

    Attributes:
        topics: what it waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.topics: frozenset[Topic] = frozenset()

    async def wait_and_reset(self) -> None:
        """Returns once it has been notified since the last time."""
        await self.wait()
        self.clear()

    async def wait_until(self, deadline: float) -> bool:
        """Returns whether it was notified before a deadline on the loop's clock."""
        if asyncio.get_running_loop().time() >= deadline:
            return False
        try:
            async with asyncio.timeout_at(deadline):
                await self.wait_and_reset()
        except TimeoutError:
            return False
        return True


class Wakeups:
    """All waiters and live subscribers of one gateway.

    Args:
        on_subscribers_changed: called with an agent and its number of live subscribers, each time that changes.

    Attributes:
        ended_streams: streams that ended since the owner last set this to 0.
    """

    def __init__(self, on_subscribers_changed: Callable[[str, int], None]) -> None:
        self.ended_streams = 0
        self._on_subscribers_changed = on_subscribers_changed
        self._waiters: dict[Topic, set[Waiter]] = {}
        self._subscribers: Counter[str] = Counter()

    @contextmanager
    def waiter(self, topics: frozenset[Topic] = frozenset()) -> Generator[Waiter]:
        """Yields a waiter for some topics, and removes it at the end."""
        waiter = Waiter()
        self.set_topics(waiter, topics)
        try:
            yield waiter
        finally:
            self.set_topics(waiter, frozenset())

    def set_topics(self, waiter: Waiter, topics: frozenset[Topic]) -> None:
        """Replaces the topics of a waiter."""
        for topic in waiter.topics - topics:
            self._waiters[topic].discard(waiter)
            if not self._waiters[topic]:
                del self._waiters[topic]
        for topic in topics - waiter.topics:
            self._waiters.setdefault(topic, set()).add(waiter)
        waiter.topics = topics

    @contextmanager
    def subscriber(self, agent: str) -> Generator[None]:
        """Counts a live subscriber of an agent while the context lasts."""
        self._change_subscribers(agent, 1)
        try:
            yield
        finally:
            self._change_subscribers(agent, -1)

    def record_stream_ended(self) -> None:
        """Counts a stream that ended."""
        self.ended_streams += 1

    def subscriber_counts(self) -> list[tuple[str, int]]:
        """Returns each agent that has live subscribers, and how many."""
        return list(self._subscribers.items())

    def notify(self, mailboxes: Iterable[str], senders: Iterable[str]) -> None:
        """Wakes the waiters for mail of these mailboxes or receipts for these senders; without names, all waiters."""
        topics = topics_of(mailboxes) | {(Kind.RECEIPTS, name) for name in senders}
        for topic in topics | ALL_TOPICS if topics else list(self._waiters):
            for waiter in self._waiters.get(topic, ()):
                waiter.set()

    def notify_all(self) -> None:
        """Wakes all waiters."""
        self.notify((), ())

    def _change_subscribers(self, agent: str, step: int) -> None:
        self._subscribers[agent] += step
        self._on_subscribers_changed(agent, self._subscribers[agent])
        if not self._subscribers[agent]:
            del self._subscribers[agent]
