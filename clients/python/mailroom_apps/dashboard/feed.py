"""Feed — the daemon's events in one subscription, and the latest of them in memory for every page.

The process subscribes to all agents as an observer: it marks nothing offered and makes no agent look alive.
Invariant: each event after `floor` is in the ring, in order and once. A reader that is behind the floor must replay.
"""

__all__ = ["Feed", "FeedEvent", "FeedState", "TooFarBehindError", "is_event_id"]

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
from mailroom.aio import AsyncMailroom
from mailroom.errors import InvalidArgument, MailroomError
from mailroom.events import CaughtUp, Event
from mailroom.inbox_directory import ID_MS_SHIFT

from mailroom_apps.dashboard.views import PREVIEW_BYTES, event_view

RING_EVENTS = 5_000
RETRY_SEC = 1.0  # while no daemon has ever answered
MAX_AGE_MS = 20 * 3_600_000  # of a cursor; the daemon keeps receipts for 24 hours
_EVENT_ID = re.compile("[0-7][0-9a-f]{15}")


def is_event_id(text: str) -> bool:
    """Returns whether a text is the id of an event."""
    return _EVENT_ID.fullmatch(text) is not None


class TooFarBehindError(Exception):
    """A reader cannot continue from its position; it must fetch everything again."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event: its position, and its JSON for the page."""

    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class FeedState:
    """Whether the subscription is live, since when (seconds since 1970), and otherwise why not."""

    live: bool
    since: float
    sentence: str
    reason: str


class Feed:
    """The events of one daemon. `run` must run as a task.

    Args:
        client: the connection to the daemon.
        on_event: called with each event, once.
        on_live: called when the daemon is back.
    """

    def __init__(self, client: AsyncMailroom, on_event: Callable[[Event], None], on_live: Callable[[], None]) -> None:
        self._client = client
        self._on_event = on_event
        self._on_live = on_live
        self._ring: deque[FeedEvent] = deque()
        self._news = asyncio.Event()
        self._floor: str | None = None
        self.position: str | None = None
        self.state = FeedState(live=False, since=time.time(), sentence="Connecting to the daemon.", reason="CONNECTING")

    async def run(self) -> None:
        """Reads events until the task is cancelled; survives everything that the daemon does."""
        while True:
            try:
                async with self._client.subscribe(
                    all_agents=True,
                    caught_up=True,
                    after_id=self.position,
                    preview_bytes=PREVIEW_BYTES,
                    on_interrupted=self._record_loss,
                ) as events:
                    async for event in events:
                        self._record(event)
            except MailroomError as error:
                self._record_loss(error)
                if isinstance(error, InvalidArgument):  # another database: this position means nothing in it
                    self._forget()
            await asyncio.sleep(RETRY_SEC)

    def events_after(self, position: str) -> list[FeedEvent]:
        """Returns the events in the ring that follow a position.

        Raises:
            TooFarBehindError: events after the position are missing from the ring.
        """
        if self._floor is None or position < self._floor:
            raise TooFarBehindError
        found: list[FeedEvent] = []
        for event in reversed(self._ring):
            if event.id <= position:
                break
            found.append(event)
        return found[::-1]

    def covers(self, position: str) -> bool:
        """Returns whether the ring continues from a position."""
        return self._floor is not None and position >= self._floor

    async def replay(self, position: str) -> AsyncIterator[FeedEvent]:
        """Yields the daemon's events after a position that the ring no longer has, up to now.

        Raises:
            TooFarBehindError: there are too many, the position is too old, or not this daemon's.
            MailroomError: the daemon is gone.
        """
        if not is_event_id(position) or time.time() * 1000 - (int(position, 16) >> ID_MS_SHIFT) > MAX_AGE_MS:
            raise TooFarBehindError
        count = 0
        try:
            async with self._client.subscribe(
                all_agents=True, caught_up=True, after_id=position, preview_bytes=PREVIEW_BYTES
            ) as events:
                async for event in events:
                    if isinstance(event, CaughtUp):
                        return
                    count += 1
                    if count > RING_EVENTS:
                        raise TooFarBehindError
                    yield FeedEvent(event.event_id, _data(event))
        except InvalidArgument as error:
            raise TooFarBehindError from error

    async def wait(self, timeout_sec: float) -> None:
        """Waits until something has changed, or for the time given."""
        news = self._news
        try:
            async with asyncio.timeout(timeout_sec):
                await news.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Wakes every reader."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _record(self, event: Event) -> None:
        if isinstance(event, CaughtUp):
            self._record_live(event.last_id)
        else:
            self._append(FeedEvent(event.event_id, _data(event)))
            self._on_event(event)
        self.wake()

    def _record_live(self, position: str) -> None:
        if self._floor is None:
            self._floor = position
        self.position = max(self.position or position, position)
        if not self.state.live:
            self.state = FeedState(live=True, since=time.time(), sentence="", reason="")
            self._on_live()

    def _append(self, event: FeedEvent) -> None:
        if self._floor is None:  # the first event may come before the end of an empty replay
            self._floor = f"{int(event.id, 16) - 1:016x}"
        if len(self._ring) >= RING_EVENTS:
            self._floor = self._ring.popleft().id
        self._ring.append(event)
        self.position = event.id

    def _record_loss(self, error: MailroomError) -> None:
        since = time.time() if self.state.live else self.state.since
        sentence = error.message
        if error.reason in {"STOPPING", "STREAM_ENDED", ""}:
            sentence = "The daemon is not running, or is just starting; `mailroom status` tells more."
        self.state = FeedState(live=False, since=since, sentence=sentence, reason=error.reason or "UNAVAILABLE")
        self.wake()

    def _forget(self) -> None:
        self._ring.clear()
        self._floor = self.position = None


def _data(event: Event) -> bytes:
    # Not with orjson: since 3.13, each of its results keeps a buffer of 4 KB.
    return msgspec.json.encode(event_view(event) or {"kind": "other"})
