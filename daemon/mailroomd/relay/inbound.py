"""Inbound — takes what the hub delivers, has the mailbox store it, and only then acknowledges it.

Owns the order: one batch of a host at a time, its items in their order. Whether an item is stored, repeated or too
early is decided in the transaction (`storage.database.arrivals`); what is stored is read from the database afterwards.
Not here: what leaves (`link`).
Invariant: a batch is acknowledged when the position of its last item is durable, or when it is dropped because its host
will send it again.
"""

__all__ = ["Inbound"]

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import msgspec

from mailroomd.core.forwarding.clocks import end_here_ms
from mailroomd.core.forwarding.position import Position, Verdict, judge
from mailroomd.core.validation import check_draft
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.message import Draft, pack_draft, unpack_draft
from mailroomd.model.names import has_host, is_address
from mailroomd.observability.log import log
from mailroomd.observability.metrics import HUB_BATCHES
from mailroomd.protocol.operations import ForwardedReceipt, Origin, RecordReceipts, Refused, Return, Send
from mailroomd.relay.envelope import (
    Envelope,
    ForeignVersion,
    MessageItem,
    ReceiptItem,
    ReportBody,
    Unreadable,
    open_envelope,
    seal_report,
)
from mailroomd.relay.hub import HubUnreachable
from mailroomd.relay.hub_messages import Delivery
from mailroomd.relay.parts import RelayParts
from mailroomd.relay.sealing import KeyMissing

MAX_WAITING = 256  # batches in memory; the hub delivers at most 64 at a time
RETRY_SEC = 1.0
MAX_RETRY_SEC = 30.0
ATTEMPTS = 3  # to store a message that raises, before it is returned

_STORED, _PUT_OFF, _DROPPED = map(HUB_BATCHES.word, ("stored", "put-off", "dropped"))

Operation = Send | RecordReceipts | Return


class Inbound:
    """Stores what arrives.

    Args:
        parts: the relay's.
        start: starts work that never ends.
    """

    def __init__(self, parts: RelayParts, start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        self._parts = parts
        self._start = start
        self._queues: dict[str, asyncio.Queue[Delivery]] = {}
        self._failures: Counter[tuple[str, int, int]] = Counter()
        self.misses: set[str] = set()
        """The hosts whose last batch came after a gap."""

    def take(self, delivery: Delivery) -> None:
        """Takes a batch; it is stored after those of its host that came before."""
        queue = self._queues.get(delivery.sender)
        if queue is None:
            queue = self._queues[delivery.sender] = asyncio.Queue(MAX_WAITING)
            self._start(partial(self._work, queue))
        if not queue.full():  # otherwise the hub delivers it again
            queue.put_nowait(delivery)

    async def answer(self, host: str, runs: list[int]) -> ReportBody:
        """Returns what is stored of a host that asks, and whether anything of it still waits at the hub."""
        try:
            is_idle = await self._parts.hub.is_idle(host)
        except HubUnreachable:
            is_idle = False
        return self._report(host, runs, is_idle=is_idle)

    def _report(self, host: str, runs: list[int], *, is_idle: bool = False) -> ReportBody:
        stored = self._parts.reading.stored(host, runs)
        return ReportBody(self._parts.hub.host, host, stored, host in self.misses, is_idle)

    async def _work(self, queue: "asyncio.Queue[Delivery]") -> None:
        while True:
            delivery = await queue.get()
            try:
                await self._store(delivery)
            except KeyMissing as error:
                log.warning("mail of a host not read", host=delivery.sender, error=str(error))
                await self._parts.hub.put_off(delivery, MAX_RETRY_SEC)

    async def _store(self, delivery: Delivery) -> None:
        parts, sender = self._parts, delivery.sender
        try:
            envelope = open_envelope(delivery.data, sender, parts.hub.host, parts.sealer)
        except ForeignVersion as error:
            log.error("batch of a newer version waits: upgrade mailroomd", host=sender, error=str(error))
            await parts.hub.put_off(delivery, MAX_RETRY_SEC)
            return
        except Unreadable as error:  # its host sends it again, perhaps with the right key
            log.error("batch not readable", host=sender, error=str(error))
            await parts.hub.acknowledge(delivery)
            return
        if not envelope.items or await self._submit(envelope, delivery.stored_ms):
            self.misses.discard(sender)
            parts.metrics.count(_STORED)
            await parts.hub.acknowledge(delivery)
            await self._tell(envelope)
            return
        if self._is_gap(envelope):  # its host, which still has it, is told to send again
            self.misses.add(sender)
            parts.metrics.count(_DROPPED)
            await parts.hub.acknowledge(delivery)
            await self._tell(envelope)
        else:
            parts.metrics.count(_PUT_OFF)
            await parts.hub.put_off(delivery, min(RETRY_SEC * delivery.deliveries, MAX_RETRY_SEC))

    async def _submit(self, envelope: Envelope, stored_ms: int) -> bool:
        """Has the items stored; returns whether all of them are."""
        operations = self._operations(envelope, stored_ms)
        submitted = [(origin, self._parts.client.submit(op, body)) for origin, op, body in operations]
        for origin, future in submitted:
            result = await future
            if isinstance(result, Refused) and result.reason == Reason.INTERNAL:
                self._failures[origin.host, origin.run, origin.id] += 1
        last = envelope.items[-1]
        return self._parts.reading.stored(envelope.sender, [last.run])[last.run] >= last.id

    def _is_gap(self, envelope: Envelope) -> bool:
        """Returns whether the first item that is not stored lacks its predecessor."""
        after = Position(envelope.after_run, envelope.after_id)
        runs = {after.run, *(item.run for item in envelope.items)}
        stored = self._parts.reading.stored(envelope.sender, runs)
        for item in envelope.items:
            position = Position(item.run, item.id)
            verdict = judge(stored, after, position)
            if verdict is not Verdict.REPEATED:
                return verdict is Verdict.GAP
            after = position
        return False

    async def _tell(self, envelope: Envelope) -> None:
        """Tells a host what is stored of it; if that gets lost, it asks."""
        runs = sorted({envelope.after_run, *(item.run for item in envelope.items)} - {0})
        report = seal_report(self._report(envelope.sender, runs), self._parts.sealer)
        await self._parts.hub.tell(envelope.sender, report)

    # -- items ----------------------------------------------------------------------------------------------------

    def _operations(self, envelope: Envelope, stored_ms: int) -> Iterator[tuple[Origin, Operation, bytes]]:
        """Yields the operations that store what is not stored yet, in order; receipts in a row share one."""
        stored = self._parts.reading.stored(envelope.sender, {item.run for item in envelope.items})
        behind_ms = self._parts.behind_ms()
        receipts: list[ForwardedReceipt] = []
        after = Position(envelope.after_run, envelope.after_id)
        for item in envelope.items:
            origin = Origin(envelope.sender, item.run, item.id, *after)
            after = Position(item.run, item.id)
            if stored[item.run] >= item.id:
                continue
            if isinstance(item, ReceiptItem):
                message = item.message_run, item.message_id
                receipts.append(ForwardedReceipt(origin, *message, item.state, item.timestamp_ms, item.reason))
                continue
            if receipts:
                yield receipts[0].origin, RecordReceipts(receipts), b""
                receipts = []
            op, body = self._arrival(origin, item, end_here_ms(item.expires_ms, envelope.sent_ms, stored_ms, behind_ms))
            yield origin, op, body
        if receipts:
            yield receipts[0].origin, RecordReceipts(receipts), b""

    def _arrival(self, origin: Origin, item: MessageItem, expires_ms: int) -> tuple[Send | Return, bytes]:
        """Returns what stores a message, or what returns one that cannot be stored."""
        if self._failures[origin.host, origin.run, origin.id] >= ATTEMPTS:
            return Return(origin, "UNREADABLE: the other host cannot store this message; its log says why"), b""
        try:
            draft = self._draft_of(origin.host, item, expires_ms)
        except (msgspec.MsgspecError, MailroomError) as error:
            return Return(origin, f"UNREADABLE: {error}"), b""
        send = Send(draft.recipient, draft.sender, draft.verified, f"{origin.run:x}.{origin.id:x}", origin=origin)
        return send, pack_draft(draft)

    def _draft_of(self, host: str, item: MessageItem, expires_ms: int) -> Draft:
        """Returns a message as it is stored here; it expires at a moment of this host's clock, 0 for never.

        Raises:
            MsgspecError, MailroomError: it is not one that any daemon accepts.
        """
        draft = unpack_draft(item.draft)
        check_draft(draft)
        sender = f"{draft.sender}:{host}"
        if has_host(draft.recipient) or not is_address(sender):
            raise MailroomError(Reason.RECIPIENT_INVALID, f"{sender} to {draft.recipient} is not an address here")
        answered = item.answers_yours or (item.answers_mine and self._parts.reading.id_here(host, item.answers_mine))
        ttl_ms = max(1, expires_ms - now_ms()) if expires_ms else 0
        return msgspec.structs.replace(draft, sender=sender, in_reply_to=answered, ttl_ms=ttl_ms)
