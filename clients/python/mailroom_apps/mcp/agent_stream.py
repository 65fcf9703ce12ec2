"""AgentStream — follows one agent for clients that subscribed to its resources: an observing Subscribe stream.

An inbox changes when mail for its agent arrives, a message when its sender gets a receipt. After an interruption the
inbox counts as changed, because a client that looks once too often loses nothing.
"""

__all__ = ["AgentStream"]

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.events import CaughtUp, Event
from mailroom.messages import Message
from mailroom.receipts import Receipt

from mailroom_apps.mcp.resources import InboxUri, MessageUri

LIVE_TIMEOUT_SEC = 3.0  # how long a subscription waits for a daemon that may be down
RETRY_SEC = 2.0  # while there is no daemon

log = logging.getLogger(__name__)


class AgentStream:
    """The stream of one agent. It runs until it is cancelled.

    Args:
        client: the client of the daemon.
        agent: whose events.
        publish: called with the URI of each resource that has changed.
    """

    def __init__(self, client: AsyncMailroom, agent: str, publish: Callable[[str], Awaitable[None]]) -> None:
        self.watchers = 0
        self._client = client
        self._agent = agent
        self._publish = publish
        self._live = asyncio.Event()
        self._interrupted = False
        self._task = asyncio.create_task(self._follow(), name=f"watch {agent}")

    async def wait_live(self) -> None:
        """Waits until no later change is missed, or until LIVE_TIMEOUT_SEC is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LIVE_TIMEOUT_SEC):
                await self._live.wait()

    def cancel(self) -> asyncio.Task[None]:
        """Cancels the stream; returns the task to wait for."""
        self._task.cancel()
        return self._task

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except MailroomError as error:
                self._interrupted = True
                log.info("stream of %s interrupted: %s", self._agent, error.message)
            await asyncio.sleep(RETRY_SEC)

    async def _follow_once(self) -> None:
        async with self._client.subscribe(
            self._agent, observe=True, include_receipts=True, caught_up=True, on_interrupted=self._on_interrupted
        ) as subscription:
            async for event in subscription:
                if uri := self._changed_resource(event):
                    await self._publish(str(uri))

    def _on_interrupted(self, _: MailroomError) -> None:
        self._interrupted = True

    def _changed_resource(self, event: Event) -> InboxUri | MessageUri | None:
        match event:
            case Message():
                return InboxUri(self._agent)
            case Receipt():
                return MessageUri(event.message_id)
            case CaughtUp():
                self._live.set()
                interrupted, self._interrupted = self._interrupted, False
                return InboxUri(self._agent) if interrupted else None
            case _:
                return None
