"""OutcomeHandler — settles orders: what an outcome changes in the table, whom it answers, and who is told of it.

Owns the answers that wait for a native team inbox. Not here: requests (`RequestHandler`), the mark (moved by the mailbox's loop
when all that has come is settled, so that nobody is told of what is not to be seen). Above: the mailbox's loop.
Invariant: a message is announced, and its sender answered, only by its outcome.
"""

__all__ = ["OutcomeHandler"]

import time

import msgspec

from mailroomd.core.aliases import Alias
from mailroomd.mailbox.gateway_port import call_failed
from mailroomd.mailbox.in_flight import Pending
from mailroomd.mailbox.state import MailboxState
from mailroomd.model.clock import now_ms
from mailroomd.model.ids import format_id
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import REPEATS, SENDS, STATES, STORE_SECONDS
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.commands import (
    AliasWritten,
    AllocateIds,
    CommandRefused,
    IdsAllocated,
    MailboxCleared,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesExpired,
    MessagesRemoved,
    MessagesTaken,
    MessageWritten,
    Outcome,
    ReadWritten,
    ResponseWritten,
    StepsWritten,
    StorageStateChanged,
    TeamInboxSettled,
    WriteClear,
    WriteMessage,
)
from mailroomd.protocol.packets import AliasChanged, AliasSet, MailCleared, MessagesRead, MessageStored
from mailroomd.table.entry import MailboxEntry

TEAM_WRITER_RESTARTED = "the worker that writes team inboxes restarted; it is tried again"
_STORED, _FILED, _READ, _EXPIRED = map(STATES.word, ("stored", "filed", "read", "expired"))


class OutcomeHandler:
    """Settles orders.

    Args:
        books: the mailbox's state.
    """

    def __init__(self, books: MailboxState) -> None:
        self._books = books
        self._table = books.table
        self._orders = books.orders
        self._metrics = books.metrics
        self._wait_for_team: dict[int, tuple[int, MessageStored]] = {}

    def apply(self, outcome: Outcome) -> None:
        """Settles one outcome."""
        match outcome:
            case MessageWritten():
                self._message_written(outcome)
            case MailboxCounted():
                self._mailbox_counted(outcome)
            case StepsWritten():
                self._orders.settle(outcome.id)
                self._books.announce_receipts(outcome.senders)
            case AllocateIds():
                self._grant(outcome)
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
                self._metrics.count(_READ, len(outcome.message_ids))
                self._advance(outcome.message_ids, DeliveryState.READ)
            case MessagesExpired():
                self._metrics.count(_EXPIRED, len(outcome.message_ids))
                self._advance(outcome.message_ids, DeliveryState.EXPIRED)
            case MessagesRemoved():
                self._advance(outcome.message_ids, DeliveryState.VOIDED)
            case MessageFiled():
                self._metrics.count(_FILED)
                self._advance([outcome.message_id], DeliveryState.FILED)
            case ResponseWritten():
                self._response_written(outcome)
            case StorageStateChanged():
                for port in self._books.ports:
                    port.tell_condition(outcome)

    def answer_without_team(self) -> None:
        """Answers what waits for a team inbox whose writer restarted: it appends what is left, but tells nobody."""
        for number in list(self._wait_for_team):
            self._answer_with_team(TeamInboxSettled(number, TEAM_WRITER_RESTARTED))

    # -- sends ----------------------------------------------------------------------------------------------------

    def _message_written(self, outcome: MessageWritten) -> None:
        pending = self._orders.settle(outcome.id)
        if pending is None or not isinstance(pending.command, WriteMessage):
            return  # answered before the command-queue restarted
        settled_ns = time.time_ns() if pending.span is not None else 0
        entry = _entry_of(pending)
        if outcome.state != DeliveryState.FILED:
            self._table.set_state(pending.command.position, DeliveryState(outcome.state))
        entry.pending -= 1
        entry.newest_position = pending.command.position
        self._books.touch(entry)
        self._books.announce(entry.name)
        self._books.announce_receipts((pending.sender,))
        now_ns = time.monotonic_ns()
        self._count_stored(pending, outcome, now_ns)
        stored = _stored(pending, outcome, outcome.id, pending.timestamp_ms, now_ns)
        if outcome.is_for_team:
            self._wait_for_team[outcome.id] = pending.gateway, stored
        else:
            self._books.ports[pending.gateway].send(stored)
        if pending.span is not None:
            parent = tracing.traceparent_of(pending.span)
            tracing.record_span("announce", parent, settled_ns, message_id=format_id(outcome.id))
            pending.span.end()

    def _count_stored(self, pending: Pending, outcome: MessageWritten, now_ns: int) -> None:
        metrics = self._metrics
        metrics.count(SENDS.at)
        metrics.count(_STORED)
        if outcome.state == DeliveryState.FILED:
            metrics.count(_FILED)
        metrics.observe(STORE_SECONDS.at, now_ns - pending.ordered_ns)
        if log.is_debugging:
            state = DeliveryState(outcome.state).name
            log.debug("message announced", message_id=format_id(outcome.id), state=state.lower())

    def _answer_with_team(self, settled: TeamInboxSettled) -> None:
        waiting = self._wait_for_team.pop(settled.message_id, None)
        if waiting is not None:
            gateway, stored = waiting
            self._books.ports[gateway].send(msgspec.structs.replace(stored, team_error=settled.error))

    def _message_repeated(self, outcome: MessageRepeated) -> None:
        pending = self._strike(outcome.id)
        if pending is not None:
            self._metrics.count(REPEATS.at)
            stored = _stored(pending, outcome, outcome.original_id, outcome.timestamp_ms, time.monotonic_ns())
            self._books.ports[pending.gateway].send(msgspec.structs.replace(stored, team_error=outcome.team_error))

    def _command_refused(self, outcome: CommandRefused) -> None:
        pending = self._strike(outcome.id)
        if pending is not None:
            self._books.ports[pending.gateway].send(call_failed(pending.call, outcome))

    def _strike(self, number: int) -> Pending | None:
        """Strikes out what a command appended, before the mark passes it; returns who waits for it."""
        pending = self._orders.settle(number)
        if pending is not None and isinstance(pending.command, WriteMessage):
            self._table.set_state(pending.command.position, DeliveryState.VOIDED)
            _entry_of(pending).pending -= 1
            if pending.span is not None:
                pending.span.end()
        return pending

    # -- everything else ------------------------------------------------------------------------------------------

    def _mailbox_counted(self, outcome: MailboxCounted) -> None:
        entry = self._table.entry(outcome.name)
        entry.total, entry.unread, entry.oldest_unread_id = outcome.total, outcome.unread, outcome.oldest_unread_id
        self._books.touch(entry)

    def _grant(self, wanted: AllocateIds) -> None:
        number = self._orders.issue(wanted.count)
        agent = self._books.agent_of(wanted.name) if wanted.name else ""
        self._orders.order(Pending(IdsAllocated(number, wanted.count, wanted.request, agent)))

    def _messages_read(self, outcome: ReadWritten) -> None:
        self._metrics.count(_READ, len(outcome.acknowledged))
        self._advance(outcome.acknowledged, DeliveryState.READ)
        self._books.announce_receipts(outcome.senders)
        pending = self._orders.settle(outcome.id)
        if pending is not None:
            answer = MessagesRead(pending.call, outcome.acknowledged, outcome.unknown)
            self._books.ports[pending.gateway].send(answer)

    def _mailbox_cleared(self, outcome: MailboxCleared) -> None:
        self._advance(outcome.message_ids, DeliveryState.VOIDED)
        pending = self._orders.settle(outcome.id)
        if pending is not None and isinstance(pending.command, WriteClear):
            answer = MailCleared(pending.call, len(outcome.message_ids), pending.command.through_id, outcome.more)
            self._books.ports[pending.gateway].send(answer)

    def _alias_written(self, outcome: AliasWritten) -> None:
        self._books.aliases.set(Alias(outcome.session, outcome.agent, outcome.expires_ms), now_ms())
        for port in self._books.ports:
            port.send(AliasChanged(outcome.session, outcome.agent, outcome.expires_ms))
        pending = self._orders.settle(outcome.id)
        if pending is not None:
            self._books.ports[pending.gateway].send(AliasSet(pending.call))

    def _response_written(self, outcome: ResponseWritten) -> None:
        entry = self._table.entry(outcome.agent)
        entry.newest_response_id = max(entry.newest_response_id, outcome.response_id)
        self._books.touch(entry)
        self._books.announce(entry.name)

    def _advance(self, message_ids: list[int], state: DeliveryState) -> None:
        for number in message_ids:
            self._table.advance_state(number, state)


def _entry_of(pending: Pending) -> MailboxEntry:
    assert pending.entry is not None  # of a message
    return pending.entry


def _stored(
    pending: Pending, outcome: MessageWritten | MessageRepeated, number: int, timestamp_ms: int, settled_ns: int
) -> MessageStored:
    entry = _entry_of(pending)
    is_led = isinstance(pending.command, WriteMessage) and pending.command.addressee
    elsewhere = outcome.mailbox if isinstance(outcome, MessageRepeated) else ""
    return MessageStored(
        pending.call,
        number,
        timestamp_ms,
        outcome.state,
        outcome.file_error,
        entry.subscribers,
        entry.last_seen_ms,
        isinstance(outcome, MessageRepeated),
        recipient=elsewhere or (entry.name if is_led else ""),
        settled_ns=settled_ns,
    )
