"""Mailbox — the worker through which every message goes: it gives ids, keeps the table, and tells everyone.

Owns the one id sequence, the mailbox table, the durable mark, and what waits for the command-queue.
Not here: durability and files (command-queue), clients (gateway), the handshakes (`Link`).
Above: gateways by `requests` and `events`; below: the command-queue by `writes` and `outcomes`.
Invariant: nobody is told of a message before its outcome has come; the mark never passes an id that has none.
"""

__all__ = ["main"]

import time
from collections import OrderedDict
from typing import NamedTuple

from mailroomd.core.log import log
from mailroomd.core.loop_guard import LoopGuard
from mailroomd.ipc.link import Link
from mailroomd.ipc.packets import (
    CallFailed,
    CountSubscribers,
    Hello,
    MarkOffered,
    MarkRead,
    MessagesOffered,
    MessagesRead,
    MessageStored,
    NoteSeen,
    Request,
    StoreMessage,
)
from mailroomd.ipc.readiness import Readiness
from mailroomd.model.commands import (
    Command,
    CommandRefused,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesTaken,
    MessageWritten,
    Outcome,
    ReadWritten,
    StoreConditionChanged,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.model.errors import Reason
from mailroomd.model.ids import IdSequence
from mailroomd.model.message import Draft, pack_draft
from mailroomd.model.states import DeliveryState
from mailroomd.processes.config import MailboxConfig
from mailroomd.processes.gateway_port import GatewayPort
from mailroomd.processes.worker import WorkerSeat
from mailroomd.storage.message_archive import MessageArchive
from mailroomd.storage.table_filling import fill_table
from mailroomd.storage.table_layout import TableLayout
from mailroomd.storage.table_writer import MailboxEntry, TableFull, TableWriter

MAX_PENDING = 20_000  # commands that wait for the command-queue; beyond it no request is read
FULL_RETRY_AFTER_MS = 60_000  # what senders are told when a mailbox is full: its reader has to come first
SEEN_EVERY_MS = 60_000  # how exactly last_seen is kept in the database; the table has it to the millisecond


def main(seat: WorkerSeat, config: MailboxConfig) -> None:
    """Runs the mailbox until it is told to stop."""
    Mailbox(seat, config).run()


class Pending(NamedTuple):
    """A command that the command-queue has not answered, and who waits for it."""

    command: WriteMessage | WriteRead
    gateway: int
    call: int
    entry: MailboxEntry
    timestamp_ms: int


class Mailbox:
    """The mailbox's loop: hear outcomes, take requests, publish, announce."""

    def __init__(self, seat: WorkerSeat, config: MailboxConfig) -> None:
        self._seat = seat
        self._settings = seat.settings
        layout = TableLayout.for_ring(seat.settings.table_bytes, seat.settings.table_mailboxes)
        self._table = TableWriter(config.table.buffer, layout)
        self._ids = IdSequence()
        self._guard = LoopGuard(seat.settings.loop_guard_per_min)
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._touched: dict[str, MailboxEntry] = {}
        self._is_filled = False
        self._is_blocked = False
        self._is_stopping = False
        self._config = config
        self._link: Link[Outcome, Command] = Link(
            seat.epoch, config.outcomes, config.writes, lambda: [one.command for one in self._pending.values()]
        )
        self._ports = [
            GatewayPort(number, seat.epoch, requests, events)
            for number, (requests, events) in enumerate(zip(config.requests, config.events, strict=True))
        ]
        self._readiness = Readiness()
        self._readiness.watch_reading(config.outcomes.reader_fileno())
        self._readiness.watch_reading(seat.leash_fileno())

    def run(self) -> None:
        """Waits for the predecessor's writes to be settled, fills the table, then works until STOP."""
        self._link.greet()
        while not self._link.is_hearing:
            if self._is_stopping:
                return
            self._wait()
            self._hear_outcomes()
            self._link.flush()  # the Hello may have found the queue full of what the predecessor left
        self._rebuild()
        for port in self._ports:
            port.greet()
        self._seat.ready()
        while self._turn() or not self._is_stopping:
            self._wait()
        log.debug("mailbox stops", last_id=f"{self._ids.last:016x}")

    def _turn(self) -> bool:
        """Carries out what has come; returns whether something is left to be answered."""
        self._hear_outcomes()
        for port in self._ports:
            port.flush()
        self._is_blocked = False
        heard = [self._hear_requests(port) for port in self._ports if self._may_take()]
        self._link.flush()
        for port in self._ports:
            port.flush()
        return any(heard) or bool(self._pending)

    def _may_take(self) -> bool:
        return len(self._pending) < MAX_PENDING and not self._is_blocked

    def _wait(self) -> None:
        """Beats, and sleeps until there is something to read (or, where a queue is full, to write)."""
        self._seat.beat()
        self._readiness.watch_writing(self._config.writes.writer_fileno(), self._link.backlog > 0)
        for port in self._ports:
            port.watch(self._readiness, reading=self._is_filled and self._may_take())
        is_done = self._is_stopping and not self._pending
        if self._seat.leash_fileno() in self._readiness.wait(0 if is_done else self._seat.beat_interval_sec):
            self._is_stopping = self._seat.stop_requested()
            self._settings = self._seat.settings  # it may have heard of new ones
            self._guard.limit_per_min = self._settings.loop_guard_per_min

    # -- requests -------------------------------------------------------------------------------------------------

    def _hear_requests(self, port: GatewayPort) -> bool:
        """Takes what a gateway asks, as far as the table has room; returns whether there was anything."""
        heard = port.receive()
        for index, item in enumerate(heard):
            try:
                self._take(port, item)
            except TableFull:
                self._is_blocked = True
                port.put_back(heard[index:])
                break
        return bool(heard)

    def _take(self, port: GatewayPort, item: Request | Hello) -> None:
        if isinstance(item, StoreMessage):
            self._store_message(port, item)
        elif isinstance(item, MarkRead):
            entry = self._table.entry(item.agent)
            self._note_seen(entry)
            now_ms = _now_ms()
            self._order(
                WriteRead(self._ids.issue(now_ms), item.agent, item.message_ids), port, item.call, entry, now_ms
            )
        elif isinstance(item, MarkOffered):
            self._mark_offered(port, item)
        elif isinstance(item, CountSubscribers):
            self._count_subscribers(port, item)
        elif isinstance(item, NoteSeen):
            self._note_seen(self._table.entry(item.agent))
        else:
            self._welcome(port, item)

    def _store_message(self, port: GatewayPort, item: StoreMessage) -> None:
        draft, now_ms = item.draft, _now_ms()
        entry = self._table.entry(draft.recipient)
        number = self._ids.issue(now_ms)
        refusal = None if item.resubmitted else self._refusal(number, draft, entry)
        if refusal is not None and not item.client_key:
            port.send(_failed(item.call, refusal))
            return
        body = pack_draft(draft)
        position = self._table.append(number, now_ms, entry, body, DeliveryState.FILED)
        command = WriteMessage(number, position, item.key, item.client_key, item.resubmitted, refusal, len(body))
        self._order(command, port, item.call, entry, now_ms)
        self._note_seen(self._table.entry(draft.sender))

    def _refusal(self, number: int, draft: Draft, entry: MailboxEntry) -> CommandRefused | None:
        """Returns why a message may not enter its mailbox, unless it is there already; None if it may."""
        limit = self._settings.max_unread
        if entry.unread + entry.pending >= limit:
            sentence = f"{draft.recipient} has {limit:,} unread messages, which is the limit: it has to read some first"
            return CommandRefused(number, Reason.MAILBOX_FULL, sentence, FULL_RETRY_AFTER_MS, "recipient")
        wait_ms = self._guard.admit(draft.sender, draft.recipient, time.monotonic_ns() // 1_000_000)
        if wait_ms:
            return CommandRefused(number, Reason.LOOP_GUARD, self._loop_sentence(draft), wait_ms, "sender")
        return None

    def _loop_sentence(self, draft: Draft) -> str:
        return (
            f"{draft.sender} and {draft.recipient} answer each other more than {self._settings.loop_guard_per_min} "
            "times a minute: it looks like a loop, stop one of them (--loop-guard sets the limit)"
        )

    def _order(
        self, command: WriteMessage | WriteRead, port: GatewayPort, call: int, entry: MailboxEntry, now_ms: int
    ) -> None:
        self._pending[command.id] = Pending(command, port.number, call, entry, now_ms)
        self._link.send(command)

    def _mark_offered(self, port: GatewayPort, item: MarkOffered) -> None:
        evicted_through = self._table.reader.evicted_through
        offered = [
            number
            for number in item.message_ids
            # what has left the table may be offered for the first time, too; the database knows
            if number <= evicted_through or self._table.offer(number, item.agent)
        ]
        if offered:
            self._link.send(WriteOffered(item.agent, offered, _now_ms()))
        if item.call:
            port.send(MessagesOffered(item.call))

    def _note_seen(self, entry: MailboxEntry) -> None:
        now_ms = _now_ms()
        known = entry.last_seen_ms > 0
        entry.last_seen_ms = now_ms
        self._touched[entry.name] = entry
        if not known or now_ms - entry.seen_written_ms >= SEEN_EVERY_MS:
            entry.seen_written_ms = now_ms
            self._link.send(WriteSeen(entry.name, now_ms))
        if not self._pending:
            self._publish_touched()

    def _count_subscribers(self, port: GatewayPort, item: CountSubscribers) -> None:
        entry = self._table.entry(item.agent)
        entry.subscribers += item.count - port.subscribers.get(item.agent, 0)
        if item.count:
            port.subscribers[item.agent] = item.count
        else:
            port.subscribers.pop(item.agent, None)
        self._note_seen(entry)
        entry.publish()

    def _welcome(self, port: GatewayPort, hello: Hello) -> None:
        """Answers a gateway that restarted: its calls and subscribers are gone with it."""
        for agent, count in port.subscribers.items():
            entry = self._table.entry(agent)
            entry.subscribers -= count
            entry.publish()
        port.welcome(hello)

    # -- outcomes -------------------------------------------------------------------------------------------------

    def _hear_outcomes(self) -> None:
        heard = self._link.receive()
        for item in heard:
            if isinstance(item, Hello):
                self._link.welcome(item)
            elif self._is_filled or isinstance(item, StoreConditionChanged):  # filling reads all else
                self._apply(item)
        if heard and self._is_filled:
            self._publish_touched()
            self._move_mark()

    def _apply(self, outcome: Outcome) -> None:
        if isinstance(outcome, MessageWritten):
            self._message_written(outcome)
        elif isinstance(outcome, MailboxCounted):
            entry = self._table.entry(outcome.name)
            entry.total, entry.unread, entry.oldest_unread_id = outcome.total, outcome.unread, outcome.oldest_unread_id
            self._touched[outcome.name] = entry
        elif isinstance(outcome, ReadWritten):
            self._messages_read(outcome)
        elif isinstance(outcome, MessageRepeated):
            self._message_repeated(outcome)
        elif isinstance(outcome, CommandRefused):
            self._command_refused(outcome)
        elif isinstance(outcome, MessagesTaken):
            for number in outcome.message_ids:
                self._table.advance_state(number, DeliveryState.READ)
        elif isinstance(outcome, MessageFiled):
            self._table.advance_state(outcome.message_id, DeliveryState.FILED)
        else:
            self._announce_condition(outcome)

    def _message_written(self, outcome: MessageWritten) -> None:
        pending = self._pending.pop(outcome.id, None)
        if pending is None or not isinstance(pending.command, WriteMessage):
            return  # answered before the command-queue restarted
        entry = pending.entry
        if outcome.state != DeliveryState.FILED:
            self._table.set_state(pending.command.position, DeliveryState(outcome.state))
        entry.pending -= 1
        entry.newest_position = pending.command.position
        self._touched[entry.name] = entry
        for port in self._ports:
            port.announce(entry.name)
        self._ports[pending.gateway].send(_stored(pending, outcome, outcome.id, pending.timestamp_ms))

    def _message_repeated(self, outcome: MessageRepeated) -> None:
        pending = self._strike(outcome.id)
        if pending is not None:
            self._ports[pending.gateway].send(_stored(pending, outcome, outcome.original_id, outcome.timestamp_ms))

    def _command_refused(self, outcome: CommandRefused) -> None:
        pending = self._strike(outcome.id)
        if pending is not None:
            self._ports[pending.gateway].send(_failed(pending.call, outcome))

    def _messages_read(self, outcome: ReadWritten) -> None:
        for number in outcome.acknowledged:
            self._table.advance_state(number, DeliveryState.READ)
        pending = self._pending.pop(outcome.id, None)
        if pending is not None:
            self._ports[pending.gateway].send(MessagesRead(pending.call, outcome.acknowledged, outcome.unknown))

    def _strike(self, number: int) -> Pending | None:
        """Strikes out what a command appended, before the mark passes it; returns who waits for it."""
        pending = self._pending.pop(number, None)
        if pending is not None and isinstance(pending.command, WriteMessage):
            self._table.set_state(pending.command.position, DeliveryState.STRUCK)
            pending.entry.pending -= 1
        return pending

    def _publish_touched(self) -> None:
        for entry in self._touched.values():
            entry.publish()
        self._touched.clear()

    def _move_mark(self) -> None:
        """Shows everything below the first unanswered id."""
        self._table.move_mark(next(iter(self._pending)) - 1 if self._pending else self._ids.last)

    def _announce_condition(self, outcome: StoreConditionChanged) -> None:
        for port in self._ports:
            port.tell_condition(outcome)

    # -- start ----------------------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        started = time.monotonic()
        archive = MessageArchive(self._settings.state_dir)
        try:
            filled = fill_table(self._table, archive, self._seat.beat)
        finally:
            archive.close()
        self._ids = IdSequence(filled.last_id)
        self._is_filled = True
        log.debug(
            "table filled",
            mailboxes=filled.mailboxes,
            messages=filled.messages,
            seconds=round(time.monotonic() - started, 3),
        )


def _stored(
    pending: Pending, outcome: MessageWritten | MessageRepeated, number: int, timestamp_ms: int
) -> MessageStored:
    entry = pending.entry
    return MessageStored(
        pending.call,
        number,
        timestamp_ms,
        outcome.state,
        outcome.file_error,
        entry.subscribers,
        entry.last_seen_ms,
        isinstance(outcome, MessageRepeated),
    )


def _failed(call: int, refusal: CommandRefused) -> CallFailed:
    return CallFailed(call, refusal.reason, refusal.sentence, refusal.field, refusal.retry_after_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
