"""Shown — which messages this server has put before agents, and the report of it to the daemon.

A message counts as shown when the answer that carries it has been written, not before: the report waits for the end of
the request's own task, and a request that was cancelled showed nothing. A report that is lost does no harm: the daemon
gives the message again, it is recognised here, and reported again.
"""

__all__ = ["Shown"]

import asyncio
import logging
from collections.abc import Iterable

from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.messages import Message
from mailroom.states import DeliveryState

MAX_REMEMBERED = 4096  # ids of one server's agents; the daemon remembers the rest
REPORT_TIMEOUT_SEC = 3.0

log = logging.getLogger(__name__)


class Shown:
    """The messages that this server has shown.

    Args:
        client: tells the daemon.
    """

    def __init__(self, client: AsyncMailroom) -> None:
        self._client = client
        self._remembered: dict[str, None] = {}  # in the order in which they were shown
        self._reports: set[asyncio.Task[None]] = set()

    def has(self, message: Message) -> bool:
        """Returns whether a message was shown before, here or elsewhere."""
        return message.state is DeliveryState.OFFERED or message.id in self._remembered

    def when_answered(self, agent: str, messages: Iterable[Message]) -> None:
        """Counts messages as shown as soon as the request that is being handled has been answered."""
        new = [message.id for message in messages if message.state is not DeliveryState.OFFERED]
        request = asyncio.current_task()
        if request and new:
            request.add_done_callback(lambda done: None if _failed(done) else self._note(agent, new))

    async def report(self, agent: str, ids: list[str]) -> None:
        """Tells the daemon at once.

        Raises:
            MailroomError: it did not hear it.
        """
        await self._client.mark_offered(agent, ids, timeout=REPORT_TIMEOUT_SEC)

    async def settle(self) -> None:
        """Waits for the reports that are on their way."""
        if self._reports:
            await asyncio.wait(self._reports)

    def _note(self, agent: str, ids: list[str]) -> None:
        for one in ids:
            self._remembered.pop(one, None)
            self._remembered[one] = None
        for oldest in list(self._remembered)[:-MAX_REMEMBERED]:
            del self._remembered[oldest]
        task = asyncio.get_running_loop().create_task(self._report_quietly(agent, ids))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report_quietly(self, agent: str, ids: list[str]) -> None:
        try:
            await self.report(agent, ids)
        except MailroomError as error:
            log.debug("not reported as shown to %s: %s", agent, error.message)


def _failed(request: asyncio.Task[object]) -> bool:
    return request.cancelled() or request.exception() is not None
