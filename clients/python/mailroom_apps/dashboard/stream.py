"""Stream — one page's live connection: server-sent events from a position on, without gaps and without repeats.

Events that have a position carry it as `id:`, and a page that comes back names the last one. `hello`, `heartbeat` and
`reset` have none, so they never move a page's position. A heartbeat tells a page at once what has become of the
daemon, and every five seconds that the connection is alive; a page that misses two gives up and connects again.
"""

__all__ = ["HEARTBEAT_SEC", "Stream", "StreamLimits"]

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Any

import orjson
from mailroom.errors import MailroomError

from mailroom_apps.dashboard.feed import Feed, FeedEvent, TooFarBehindError

HEARTBEAT_SEC = 5.0
MAX_STREAMS = 5  # of one session: a browser opens six connections to a host, and one must be left for calls


class StreamLimits:
    """Counts the open streams of each session."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """The number of all open streams."""
        return self._open.total()

    def allows(self, session_id: str) -> bool:
        """Returns whether a session may open one more."""
        return self._open[session_id] < MAX_STREAMS

    @contextmanager
    def opened(self, session_id: str) -> Generator[None]:
        """Counts a stream of a session as open during a context."""
        self._open[session_id] += 1
        try:
            yield
        finally:
            self._open[session_id] -= 1


class Stream:
    """The events for one page.

    Args:
        feed: where they come from.
        position: the last event that the page has; None for one that has none.
        describe: returns what a heartbeat says besides the time; the feed wakes its readers when it changes.
        is_wanted: whether to continue: the server is not stopping, and the session still exists.
    """

    def __init__(
        self,
        feed: Feed,
        position: str | None,
        describe: Callable[[], dict[str, Any]],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._feed = feed
        self._position = position
        self._describe = describe
        self._is_wanted = is_wanted
        self._heartbeat_at = 0.0
        self._described: dict[str, Any] = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yields the bytes of the response."""
        yield self._status("hello")
        while self._is_wanted():
            if self._is_due():
                yield self._status("heartbeat")
            async for chunk in self._catch_up():
                yield chunk
            await self._feed.wait(max(0.05, self._heartbeat_at - time.monotonic()))

    async def _catch_up(self) -> AsyncIterator[bytes]:
        """Yields everything that the page does not have."""
        if self._feed.position is None:  # the daemon has not answered yet
            return
        if self._position is None:
            self._position = self._feed.position
        try:
            if self._position > self._feed.position:
                raise TooFarBehindError
            if not self._feed.covers(self._position):
                async for event in self._feed.replay(self._position):
                    yield self._advance(event)
            if events := self._feed.events_after(self._position):
                yield b"".join(map(self._advance, events))
        except TooFarBehindError:
            self._position = self._feed.position
            yield _frame("reset", orjson.dumps({"position": self._position}))
        except MailroomError:
            return  # the daemon went away; the page keeps its position

    def _advance(self, event: FeedEvent) -> bytes:
        self._position = event.id
        return _frame("event", event.data, event.id)

    def _is_due(self) -> bool:
        return time.monotonic() >= self._heartbeat_at or self._describe() != self._described

    def _status(self, name: str) -> bytes:
        self._heartbeat_at = time.monotonic() + HEARTBEAT_SEC
        self._described = self._describe()
        return _frame(name, orjson.dumps({"now_ms": int(time.time() * 1000)} | self._described))


def _frame(name: str, data: bytes, event_id: str | None = None) -> bytes:
    """Returns one event. JSON has no line breaks, so its data is one line."""
    head = f"id: {event_id}\n".encode() if event_id else b""
    return head + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
