"""HostLink — carries one host's queue to the hub: makes intents durable, packs and publishes, and learns what arrived.

Owns the task that does it, and why nothing is sent at the moment. `Outgoing` decides on the next batch. Not
here: what arrives from the host (`inbound`).
Invariant: a batch is published only when its intent is durable.
"""

__all__ = ["HostLink"]

import asyncio
import secrets
import time
from contextlib import suppress

import msgspec

from mailroomd.core.forwarding.outgoing import Batch, Outgoing, Report, Row
from mailroomd.model.clock import now_ms
from mailroomd.model.message import pack_draft
from mailroomd.model.names import name_of
from mailroomd.observability.log import log
from mailroomd.observability.metrics import HUB_BATCHES, HUB_REPEATS
from mailroomd.protocol.operations import Confirm, Done, GiveUp, Intend
from mailroomd.relay.envelope import (
    Envelope,
    MessageItem,
    ReceiptItem,
    ReportBody,
    Unreadable,
    open_report,
    seal_envelope,
    seal_report,
)
from mailroomd.relay.hub import HubUnreachable
from mailroomd.relay.parts import RelayParts
from mailroomd.relay.sealing import KeyMissing
from mailroomd.storage.database.forward_reading import WaitingMessage, WaitingReceipt

RETRY_SEC = 1.0  # after the hub refused or did not answer
LOOK_SEC = 2.0  # while something is published and not confirmed
RECEIPTS_WAIT_SEC = 0.25  # for company
GIVE_UP_ITEMS = 200  # in one transaction
_RETURNED_QUEUED = "HOST_REMOVED: {host} was removed from the hub before this message left"
_RETURNED_FORWARDED = (
    "HOST_REMOVED: {host} was removed from the hub before it confirmed this message; it may have got it before that"
)
_SENT = HUB_BATCHES.word("sent")


class HostLink:
    """One host's queue on its way out.

    Args:
        host: its name.
        parts: the relay's.

    Attributes:
        problem: why nothing is sent, or "".
    """

    def __init__(self, host: str, parts: RelayParts) -> None:
        self.host = host
        self.problem = ""
        self._parts = parts
        self._outgoing = Outgoing(self._rows, parts.reading.sent(host))
        self._session = secrets.token_hex(6)  # a batch of an earlier start is never taken for one of this
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Makes the task look at the queue; one that waits for the hub to be reached does so after RETRY_SEC anyway."""
        if self._parts.hub.is_connected or not self.problem:
            self._wake.set()

    def wake_soon(self) -> None:
        """Does so in a moment: receipts wait for others, or for a message."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RECEIPTS_WAIT_SEC, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            self._wake.clear()
            try:
                pause_sec = await self._work()
                self.problem = ""
            except (HubUnreachable, KeyMissing) as error:
                if str(error) != self.problem:
                    log.warning("mail waits for a host", host=self.host, error=str(error))
                self.problem = str(error)
                pause_sec = RETRY_SEC
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_sec)

    async def _work(self) -> float | None:
        """Publishes what can be published; returns how long there will be nothing to do, None forever."""
        if not self._rows(0, 1):
            return None
        if self._parts.is_removed(self.host):
            await self._give_up()
            return LOOK_SEC
        if not (self._parts.hub.is_connected and self._parts.hub.is_open):
            raise HubUnreachable(self._parts.hub.problem or "the hub is not reached")
        if problem := self._parts.sealer.problem(self.host):
            raise KeyMissing(problem)
        if self._outgoing.should_ask(time.monotonic()):
            self._outgoing.on_asked(time.monotonic())
            await self._ask()
        while (batch := self._outgoing.next_batch()) is not None and not self._parts.is_removed(self.host):
            await self._publish(batch)
        return LOOK_SEC

    async def _give_up(self) -> None:
        """Returns everything that waits for a host that was removed. Nothing of it is at the hub any more."""
        while rows := self._rows(0, GIVE_UP_ITEMS):
            await self._return([row.position.id for row in rows])

    async def _return(self, ids: list[int]) -> None:
        """Returns messages to their senders, and says of each whether the host may have got it."""
        sent_id = self._parts.reading.sent(self.host).id
        for reason, chosen in (
            (_RETURNED_FORWARDED, [item_id for item_id in ids if item_id <= sent_id]),
            (_RETURNED_QUEUED, [item_id for item_id in ids if item_id > sent_id]),
        ):
            if chosen:
                result = await self._parts.client.submit(GiveUp(self.host, chosen, reason.format(host=self.host)))
                if not isinstance(result, Done):
                    raise HubUnreachable(f"the database does not take back what waits: {result}")

    # -- publishing -----------------------------------------------------------------------------------------------

    async def _publish(self, batch: Batch) -> None:
        if batch.last.id > self._outgoing.sent.id:
            result = await self._parts.client.submit(Intend(self.host, batch.last.run, batch.last.id))
            if not isinstance(result, Done):
                raise HubUnreachable(f"the database does not take the intent: {result}")
        rows = self._outgoing.rows_of(batch)
        waiting = self._parts.reading.items(self.host, [row.position.id for row in rows])
        last = waiting[-1].position if waiting else None
        if waiting:
            items = [self._item_of(item) for item in waiting]
            envelope = Envelope(self._parts.hub.host, self.host, batch.after.run, batch.after.id, items, now_ms())
            batch_id = f"{self._session}.{batch.last.id:x}.{batch.copy}"
            data = seal_envelope(envelope, self._parts.sealer)
            await self._parts.hub.publish(self.host, self._parts.shard_of(self.host), data, batch_id)
            self._parts.metrics.count(_SENT)
        self._outgoing.on_published(batch, last, time.monotonic())

    def _item_of(self, waiting: WaitingMessage | WaitingReceipt) -> MessageItem | ReceiptItem:
        position = waiting.position
        if isinstance(waiting, WaitingReceipt):
            return ReceiptItem(*position, *waiting.message, waiting.state, waiting.timestamp_ms, waiting.reason)
        message, draft = waiting.message, waiting.message.draft
        answers_yours = self._parts.reading.id_at(self.host, draft.in_reply_to) if draft.in_reply_to else 0
        packed = pack_draft(msgspec.structs.replace(draft, recipient=name_of(draft.recipient), in_reply_to=0, ttl_ms=0))
        return MessageItem(
            *position, packed, message.expires_ms, answers_yours, 0 if answers_yours else draft.in_reply_to
        )

    def _rows(self, after_id: int, limit: int) -> list[Row]:
        return self._parts.reading.rows(self.host, after_id, self._parts.durable_id(), limit)

    # -- what the other host has ----------------------------------------------------------------------------------

    async def _ask(self) -> None:
        parts = self._parts
        question = ReportBody(parts.hub.host, self.host, runs=self._outgoing.runs())
        data = await parts.hub.ask(self.host, seal_report(question, parts.sealer))
        if data is None:
            return
        try:
            await self.take_report(open_report(data, self.host, parts.hub.host, parts.sealer))
        except Unreadable as error:
            log.warning("report of a host not readable", host=self.host, error=str(error))

    async def take_report(self, body: ReportBody) -> None:
        """Learns what the host has stored."""
        stored = dict(body.stored)
        has_confirmed = self._parts.reading.confirms(self.host, stored)
        if has_confirmed:
            await self._parts.client.submit(Confirm(self.host, stored))
        report = Report(stored, body.misses, body.is_idle)
        before = self._outgoing.repeats
        self._outgoing.on_report(report, has_confirmed, time.monotonic())
        if self._outgoing.repeats > before:
            self._parts.metrics.count(HUB_REPEATS.at)
            log.info("mail is sent again", host=self.host, stored=_shown(stored), misses=body.misses)
        self._wake.set()


def _shown(stored: dict[int, int]) -> list[str]:
    return [f"{run:x}:{item_id:016x}" for run, item_id in stored.items()]
