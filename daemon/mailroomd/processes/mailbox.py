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

import msgspec

from mailroomd.core.aliases import Alias, Aliases
from mailroomd.core.log import log
from mailroomd.core.loop_guard import LoopGuard
from mailroomd.ipc.link import Link
from mailroomd.ipc.packets import (
    AliasChanged,
    AliasSet,
    CallFailed,
    ClearMailbox,
    CountSubscribers,
    Hello,
    MailCleared,
    MarkOffered,
    MarkRead,
    MessagesOffered,
    MessagesRead,
    MessageStored,
    NoteSeen,
    Request,
    SetAlias,
    StoreMessage,
)
from mailroomd.ipc.readiness import Readiness
from mailroomd.model.commands import (
    AliasWritten,
    Command,
    CommandRefused,
    GrantIds,
    IdsWanted,
    MailboxCleared,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesExpired,
    MessagesRemoved,
    MessagesTaken,
    MessageWritten,
    OrderedCommand,
    Outcome,
    ReadWritten,
    ResponseWritten,
    StepsWritten,
    StoreConditionChanged,
    TeamInboxSettled,
    WriteAlias,
    WriteClear,
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
from mailroomd.processes.offers import Offers
from mailroomd.processes.worker import WorkerSeat
from mailroomd.storage.message_archive import MessageArchive
from mailroomd.storage.table_filling import fill_table
from mailroomd.storage.table_layout import TableLayout
from mailroomd.storage.table_writer import MailboxEntry, TableFull, TableWriter

MAX_PENDING = 20_000  # commands that wait for the command-queue; beyond it no request is read
FULL_RETRY_AFTER_MS = 60_000  # what senders are told when a mailbox is full: its reader has to come first
TEAM_WRITER_RESTARTED = "the worker that writes team inboxes restarted; it is tried again"
SEEN_EVERY_MS = 60_000  # how exactly last_seen is kept in the database; the table has it to the millisecond


def main(seat: WorkerSeat, config: MailboxConfig) -> None:
    """Runs the mailbox until it is told to stop."""
    Mailbox(seat, config).run()


class Pending(NamedTuple):
    """A command that the command-queue has not answered, and who waits for it: call 0 is nobody's.

    Attributes:
        entry: the mailbox's, of a message.
        sender: of a message.
    """

    command: OrderedCommand
    gateway: int = 0
    call: int = 0
    entry: MailboxEntry | None = None
    sender: str = ""
    timestamp_ms: int = 0


class Mailbox:
    """The mailbox's loop: hear outcomes, take requests, publish, announce."""

    def __init__(self, seat: WorkerSeat, config: MailboxConfig) -> None:
        self._seat = seat
        self._settings = seat.settings
        layout = TableLayout.for_ring(seat.settings.table_bytes, seat.settings.table_mailboxes)
        self._table = TableWriter(config.table.buffer, layout)
        self._ids = IdSequence()
        self._guard = LoopGuard(seat.settings.loop_guard_per_min)
        self._aliases = Aliases()
        self._offers = Offers()
        self._wait_for_team: dict[int, tuple[int, MessageStored]] = {}
        self._wanted: list[IdsWanted] = []
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
            GatewayPort(number, seat.epoch, requests, events, self._live_aliases)
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
        self._order_offers()
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
        pause = min(self._seat.beat_interval_sec, self._offers.due(time.monotonic()))
        if self._seat.leash_fileno() in self._readiness.wait(0 if is_done else pause):
            self._is_stopping = self._seat.stop_requested()

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
        match item:
            case StoreMessage():
                self._store_message(port, item)
            case MarkRead():
                self._note_seen(self._table.entry(self._agent_of(item.agent)))
                number = self._issue(max(1, len(item.message_ids)))
                self._order(Pending(WriteRead(number, item.agent, item.message_ids), port.number, item.call))
            case MarkOffered():
                self._mark_offered(port, item)
            case ClearMailbox():
                number = self._issue()
                command = WriteClear(number, item.agent, min(item.through_id, number), item.limit)
                self._order(Pending(command, port.number, item.call))
            case SetAlias():
                self._set_alias(port, item)
            case CountSubscribers():
                self._count_subscribers(port, item)
            case NoteSeen():
                self._note_seen(self._table.entry(item.agent))
            case Hello():
                self._welcome(port, item)

    def _store_message(self, port: GatewayPort, item: StoreMessage) -> None:
        now_ms = _now_ms()
        draft, addressee = self._led_by_alias(item.draft)
        entry = self._table.entry(draft.recipient)
        number = self._ids.issue(now_ms, 2)  # the second is the place of its first receipt
        refusal = None if item.resubmitted else self._refusal(number, draft, entry)
        if refusal is not None and not item.client_key:
            port.send(_failed(item.call, refusal))
            return
        body = pack_draft(draft)
        position = self._table.append(number, now_ms, entry, body, DeliveryState.FILED)
        command = WriteMessage(
            number, position, item.key, item.client_key, item.resubmitted, refusal, len(body), addressee
        )
        self._order(Pending(command, port.number, item.call, entry, draft.sender, now_ms))
        self._note_seen(self._table.entry(self._agent_of(draft.sender)))

    def _led_by_alias(self, draft: Draft) -> tuple[Draft, str]:
        """Returns the draft for the mailbox that it goes to, and the name that its sender wrote if that is another."""
        recipient = self._agent_of(draft.recipient)
        if recipient == draft.recipient:
            return draft, ""
        return msgspec.structs.replace(draft, recipient=recipient), draft.recipient

    def _agent_of(self, name: str) -> str:
        return self._aliases.agent_of(name, _now_ms())

    def _issue(self, count: int = 1) -> int:
        return self._ids.issue(_now_ms(), count)

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

    def _order(self, pending: Pending) -> None:
        self._pending[pending.command.id] = pending
        self._link.send(pending.command)

    def _mark_offered(self, port: GatewayPort, item: MarkOffered) -> None:
        offered = [number for number in item.message_ids if self._table.offer(number, item.agent)]
        if offered:
            self._offers.add(item.agent, offered, time.monotonic())
        if item.call:
            port.send(MessagesOffered(item.call))

    def _order_offers(self) -> None:
        for agent, numbers in self._offers.take(time.monotonic(), others_go=self._link.backlog > 0):
            self._order(Pending(WriteOffered(self._issue(len(numbers)), agent, numbers, _now_ms())))

    def _set_alias(self, port: GatewayPort, item: SetAlias) -> None:
        sentence = self._alias_conflict(item.session, item.agent) if item.expires_ms else ""
        if sentence:
            port.send(CallFailed(item.call, Reason.ALIAS_CONFLICT, sentence, "agent", 0))
            return
        command = WriteAlias(self._issue(), item.session, item.agent, item.expires_ms)
        self._order(Pending(command, port.number, item.call))
        self._note_seen(self._table.entry(item.agent))

    def _alias_conflict(self, session: str, agent: str) -> str:
        """Returns why a session can't be an alias of an agent: one alias never leads to another."""
        behind = self._agent_of(agent)
        if behind != agent:
            return f"{agent} is itself a session of {behind}: name {behind} as the agent, or end that alias first"
        if self._aliases.sessions_of(session, _now_ms()):
            return f"{session} is an agent with sessions of its own: end their aliases first, or name another session"
        return ""

    def _live_aliases(self) -> list[AliasChanged]:
        return [AliasChanged(*one) for one in self._aliases.live(_now_ms())]

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
                self._answer_without_team()
            elif self._is_filled or isinstance(item, StoreConditionChanged):
                self._apply(item)
            elif isinstance(item, IdsWanted):  # filling reads all else
                self._wanted.append(item)
        if heard and self._is_filled:
            self._publish_touched()
            self._move_mark()

    def _apply(self, outcome: Outcome) -> None:
        match outcome:
            case MessageWritten():
                self._message_written(outcome)
            case MailboxCounted():
                entry = self._table.entry(outcome.name)
                entry.total, entry.unread, entry.oldest_unread_id = (
                    outcome.total,
                    outcome.unread,
                    outcome.oldest_unread_id,
                )
                self._touched[outcome.name] = entry
            case StepsWritten():
                self._pending.pop(outcome.id, None)
                self._announce_receipts(outcome.senders)
            case IdsWanted():
                number = self._issue(outcome.count)
                agent = self._agent_of(outcome.name) if outcome.name else ""
                self._order(Pending(GrantIds(number, outcome.count, outcome.request, agent)))
            case ReadWritten():
                self._messages_read(outcome)
            case TeamInboxSettled():
                self._answer_with_team(outcome)
            case MessageRepeated():
                self._message_repeated(outcome)
            case CommandRefused():
                self._command_refused(outcome)
            case AliasWritten():
                self._alias_written(outcome)
            case MailboxCleared():
                self._mailbox_cleared(outcome)
            case MessagesTaken():
                self._advance(outcome.message_ids, DeliveryState.READ)
            case MessagesExpired():
                self._advance(outcome.message_ids, DeliveryState.EXPIRED)
            case MessagesRemoved():
                self._advance(outcome.message_ids, DeliveryState.STRUCK)
            case MessageFiled():
                self._advance([outcome.message_id], DeliveryState.FILED)
            case ResponseWritten():
                self._response_written(outcome)
            case StoreConditionChanged():
                self._announce_condition(outcome)

    def _message_written(self, outcome: MessageWritten) -> None:
        pending = self._pending.pop(outcome.id, None)
        if pending is None or not isinstance(pending.command, WriteMessage):
            return  # answered before the command-queue restarted
        entry = _entry_of(pending)
        if outcome.state != DeliveryState.FILED:
            self._table.set_state(pending.command.position, DeliveryState(outcome.state))
        entry.pending -= 1
        entry.newest_position = pending.command.position
        self._touched[entry.name] = entry
        for port in self._ports:
            port.announce(entry.name)
            port.announce_receipts((pending.sender,))
        stored = _stored(pending, outcome, outcome.id, pending.timestamp_ms)
        if outcome.is_for_team:
            self._wait_for_team[outcome.id] = pending.gateway, stored
        else:
            self._ports[pending.gateway].send(stored)

    def _answer_with_team(self, settled: TeamInboxSettled) -> None:
        waiting = self._wait_for_team.pop(settled.message_id, None)
        if waiting is not None:
            gateway, stored = waiting
            self._ports[gateway].send(msgspec.structs.replace(stored, team_error=settled.error))

    def _answer_without_team(self) -> None:
        """Answers what waits for a team inbox whose writer restarted: it appends what is left, but tells nobody."""
        for number in list(self._wait_for_team):
            self._answer_with_team(TeamInboxSettled(number, TEAM_WRITER_RESTARTED))

    def _message_repeated(self, outcome: MessageRepeated) -> None:
        pending = self._strike(outcome.id)
        if pending is not None:
            stored = _stored(pending, outcome, outcome.original_id, outcome.timestamp_ms)
            self._ports[pending.gateway].send(msgspec.structs.replace(stored, team_error=outcome.team_error))

    def _command_refused(self, outcome: CommandRefused) -> None:
        pending = self._strike(outcome.id)
        if pending is not None and pending.call:
            self._ports[pending.gateway].send(_failed(pending.call, outcome))

    def _messages_read(self, outcome: ReadWritten) -> None:
        self._advance(outcome.acknowledged, DeliveryState.READ)
        self._announce_receipts(outcome.senders)
        pending = self._pending.pop(outcome.id, None)
        if pending is not None:
            self._ports[pending.gateway].send(MessagesRead(pending.call, outcome.acknowledged, outcome.unknown))

    def _mailbox_cleared(self, outcome: MailboxCleared) -> None:
        self._advance(outcome.message_ids, DeliveryState.STRUCK)
        pending = self._pending.pop(outcome.id, None)
        if pending is not None:
            through_id = pending.command.through_id if isinstance(pending.command, WriteClear) else 0
            answer = MailCleared(pending.call, len(outcome.message_ids), through_id, outcome.more)
            self._ports[pending.gateway].send(answer)

    def _alias_written(self, outcome: AliasWritten) -> None:
        self._aliases.set(Alias(outcome.session, outcome.agent, outcome.expires_ms))
        for port in self._ports:
            port.send(AliasChanged(outcome.session, outcome.agent, outcome.expires_ms))
        pending = self._pending.pop(outcome.id, None)
        if pending is not None:
            self._ports[pending.gateway].send(AliasSet(pending.call))

    def _response_written(self, outcome: ResponseWritten) -> None:
        entry = self._table.entry(outcome.agent)
        entry.newest_response_id = max(entry.newest_response_id, outcome.response_id)
        self._touched[entry.name] = entry
        for port in self._ports:
            port.announce(entry.name)

    def _announce_receipts(self, senders: list[str]) -> None:
        for port in self._ports:
            port.announce_receipts(senders)

    def _advance(self, message_ids: list[int], state: DeliveryState) -> None:
        for number in message_ids:
            self._table.advance_state(number, state)

    def _strike(self, number: int) -> Pending | None:
        """Strikes out what a command appended, before the mark passes it; returns who waits for it."""
        pending = self._pending.pop(number, None)
        if pending is not None and isinstance(pending.command, WriteMessage):
            self._table.set_state(pending.command.position, DeliveryState.STRUCK)
            _entry_of(pending).pending -= 1
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
            for alias in archive.aliases(_now_ms()):
                self._aliases.set(Alias(*alias))
        finally:
            archive.close()
        self._ids = IdSequence(filled.last_id)
        self._is_filled = True
        for wanted in self._wanted:
            self._apply(wanted)
        log.debug(
            "table filled",
            mailboxes=filled.mailboxes,
            messages=filled.messages,
            seconds=round(time.monotonic() - started, 3),
        )


def _entry_of(pending: Pending) -> MailboxEntry:
    assert pending.entry is not None  # of a message
    return pending.entry


def _stored(
    pending: Pending, outcome: MessageWritten | MessageRepeated, number: int, timestamp_ms: int
) -> MessageStored:
    entry = _entry_of(pending)
    is_elsewhere = isinstance(pending.command, WriteMessage) and pending.command.addressee
    return MessageStored(
        pending.call,
        number,
        timestamp_ms,
        outcome.state,
        outcome.file_error,
        entry.subscribers,
        entry.last_seen_ms,
        isinstance(outcome, MessageRepeated),
        recipient=entry.name if is_elsewhere else "",
    )


def _failed(call: int, refusal: CommandRefused) -> CallFailed:
    return CallFailed(call, refusal.reason, refusal.sentence, refusal.field, refusal.retry_after_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
