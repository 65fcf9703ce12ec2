"""ShownMessages — which messages this server has shown to agents, and the report of it to the daemon.

A message counts as shown when the answer that carries it has been written, not before: the report waits for the end of
the request's own task, and a cancelled request has shown nothing. Until then the request has claimed the message, so
that overlapping calls do not show it as well. A lost report does no harm: the daemon returns the message again, this
server recognizes it and reports it again.
Bound: claims are those of one server; two servers of one agent can show the same message.
"""

__all__ = ["ShownMessages"]

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from mailroom.aio import AsyncMailroom
from mailroom.errors import MailroomError
from mailroom.messages import Message
from mailroom.states import DeliveryState

MAX_IDS = 4096  # of all agents of one server; the daemon knows the rest
REPORT_TIMEOUT_SEC = 3.0

log = logging.getLogger(__name__)


class ShownMessages:
    """The messages that this server has shown.

    Args:
        client: the client of the daemon.
    """

    def __init__(self, client: AsyncMailroom) -> None:
        self._client = client
        self._ids: dict[str, None] = {}  # in the order in which they were shown
        self._claims = Counter[str]()  # by id: requests whose answers, not written yet, carry the message
        self._claim_end = asyncio.Event()
        self._reports: set[asyncio.Task[None]] = set()

    def was_shown(self, message: Message) -> bool:
        """Returns whether a message was shown before, here or elsewhere."""
        return message.state is DeliveryState.OFFERED or message.id in self._ids

    def is_claimed(self, message: Message) -> bool:
        """Returns whether a request that is not answered yet will show a message."""
        return self._claims[message.id] > 0

    def is_new(self, message: Message) -> bool:
        """Returns whether a message neither was shown before nor is claimed."""
        return not self.was_shown(message) and not self.is_claimed(message)

    def record_after_answer(self, agent: str, messages: Iterable[Message]) -> None:
        """Claims messages for the current request, and records them as shown as soon as it has been answered.

        A request that fails or is cancelled releases its claims.
        """
        new = [message.id for message in messages if message.state is not DeliveryState.OFFERED]
        request = asyncio.current_task()
        if request and new:
            self._claims.update(new)
            request.add_done_callback(lambda done: self._end_claims(agent, new, has_shown=not _failed(done)))

    async def wait_for_claim_end(self, timeout_sec: float) -> bool:
        """Waits until some request has ended its claims; returns False after the timeout."""
        try:
            await asyncio.wait_for(self._claim_end.wait(), timeout_sec)
        except TimeoutError:
            return False
        return True

    async def report(self, agent: str, ids: list[str]) -> None:
        """Tells the daemon at once.

        Raises:
            MailroomError: it did not take the report.
        """
        await self._client.mark_offered(agent, ids, timeout=REPORT_TIMEOUT_SEC)

    async def drain_reports(self) -> None:
        """Waits until the pending reports have ended."""
        if self._reports:
            await asyncio.wait(self._reports)

    def _end_claims(self, agent: str, ids: list[str], *, has_shown: bool) -> None:
        self._claims -= Counter(ids)
        if has_shown:
            self._record(agent, ids)
        self._claim_end.set()
        self._claim_end = asyncio.Event()

    def _record(self, agent: str, ids: list[str]) -> None:
        for message_id in ids:
            self._ids.pop(message_id, None)
            self._ids[message_id] = None
        for oldest_id in list(self._ids)[:-MAX_IDS]:
            del self._ids[oldest_id]
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
