"""OutcomeHandler — processes outcomes: updates the mailbox table, answers the waiting call, announces what is new.

Owns the answers that wait for a native team inbox. Not here: requests (`RequestHandler`), and the high-water mark (the
mailbox's loop advances it once all outcomes received so far are processed). Above: the mailbox's loop.
Invariant: a message is announced, and its sender answered, only because of its outcome.
"""

__all__ = ["OutcomeHandler"]

import time

import msgspec

from mailroomd.core.aliases import Alias
from mailroomd.mailbox.gateway_port import call_failed
from mailroomd.mailbox.in_flight import InFlightCommand
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
    WriteAlias,
    WriteClear,
    WriteMessage,
)
from mailroomd.protocol.packets import AliasChanged, AliasSet, Answer, MailCleared, MessagesRead, MessageStored
from mailroomd.table.entry import MailboxEntry

TEAM_WRITER_RESTARTED = "the worker that writes team inboxes restarted; the entry will be written later"
_STORED, _FILED, _READ, _EXPIRED = map(STATES.word, ("stored", "filed", "read", "expired"))


class OutcomeHandler:
    """Processes the outcomes that the command-queue reports.

    Args:
        state: the mailbox worker's state.
    """

    def __init__(self, state: MailboxState) -> None:
        self._state = state
        self._table = state.table
        self._in_flight = state.in_flight
        self._metrics = state.metrics
        self._awaiting_team: dict[int, tuple[int, MessageStored]] = {}  # message id: gateway, answer

    def handle_outcome(self, outcome: Outcome) -> None:
        """Processes one outcome; one whose command was resolved before changes nothing but the counts."""
        match outcome:
            case MessageWritten():
                self._message_written(outcome)
            case MailboxCounted():
                self._mailbox_counted(outcome)
            case StepsWritten():
                self._in_flight.resolve(outcome.id)
                self._state.announce_receipts(outcome.senders)
            case AllocateIds():
                self._allocate_ids(outcome)
            case ReadWritten():
                self._messages_read(outcome)
            case TeamInboxSettled():
                self._team_inbox_settled(outcome)
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
                self._advance_states(outcome.message_ids, DeliveryState.READ)
            case MessagesExpired():
                self._metrics.count(_EXPIRED, len(outcome.message_ids))
                self._advance_states(outcome.message_ids, DeliveryState.EXPIRED)
            case MessagesRemoved():
                self._advance_states(outcome.message_ids, DeliveryState.VOIDED)
            case MessageFiled():
                self._metrics.count(_FILED)
                self._advance_states([outcome.message_id], DeliveryState.FILED)
            case ResponseWritten():
                self._response_written(outcome)
            case StorageStateChanged():
                for port in self._state.ports:
                    port.send_storage_state(outcome)

    def answer_without_team(self) -> None:
        """Answers the sends that wait for a team inbox when its writer restarts, which will not report on them."""
        for message_id in list(self._awaiting_team):
            self._team_inbox_settled(TeamInboxSettled(message_id, TEAM_WRITER_RESTARTED))

    # -- sends ----------------------------------------------------------------------------------------------------

    def _message_written(self, outcome: MessageWritten) -> None:
        in_flight = self._in_flight.resolve(outcome.id)
        if in_flight is None or not isinstance(in_flight.command, WriteMessage):
            return  # answered before the command-queue restarted
        announced_ns = time.time_ns() if in_flight.span is not None else 0
        entry = _entry_of(in_flight)
        if outcome.state != DeliveryState.FILED:
            self._table.set_state(in_flight.command.position, DeliveryState(outcome.state))
        entry.pending -= 1
        entry.newest_position = in_flight.command.position
        self._state.record_changed(entry)
        self._state.announce_mail(entry.name)
        self._state.announce_receipts((in_flight.sender,))
        now_ns = time.monotonic_ns()
        self._count_stored(in_flight, outcome, now_ns)
        answer = _stored(in_flight, outcome, outcome.id, in_flight.timestamp_ms, now_ns)
        if outcome.is_for_team:
            self._awaiting_team[outcome.id] = in_flight.gateway, answer
        else:
            self._answer(in_flight, answer)
        if in_flight.span is not None:
            tracing.record_span(
                "announce", tracing.traceparent_of(in_flight.span), announced_ns, message_id=format_id(outcome.id)
            )
            in_flight.span.end()

    def _count_stored(self, in_flight: InFlightCommand, outcome: MessageWritten, now_ns: int) -> None:
        metrics = self._metrics
        metrics.count(SENDS.at)
        metrics.count(_STORED)
        if outcome.state == DeliveryState.FILED:
            metrics.count(_FILED)
        metrics.observe(STORE_SECONDS.at, now_ns - in_flight.submitted_ns)
        if log.is_debugging:
            state = DeliveryState(outcome.state).name
            log.debug("message announced", message_id=format_id(outcome.id), state=state.lower())

    def _team_inbox_settled(self, outcome: TeamInboxSettled) -> None:
        waiting = self._awaiting_team.pop(outcome.message_id, None)
        if waiting is not None:
            gateway, answer = waiting
            self._state.ports[gateway].send(msgspec.structs.replace(answer, team_error=outcome.error))

    def _message_repeated(self, outcome: MessageRepeated) -> None:
        in_flight = self._resolve_void(outcome.id)
        if in_flight is not None:
            self._metrics.count(REPEATS.at)
            answer = _stored(in_flight, outcome, outcome.original_id, outcome.timestamp_ms, time.monotonic_ns())
            self._answer(in_flight, msgspec.structs.replace(answer, team_error=outcome.team_error))

    def _command_refused(self, outcome: CommandRefused) -> None:
        in_flight = self._resolve_void(outcome.id)
        if in_flight is not None:
            self._end_pending_alias(in_flight)
            self._answer(in_flight, call_failed(in_flight.call, outcome))

    def _resolve_void(self, command_id: int) -> InFlightCommand | None:
        """Resolves a command and voids the record that it appended, before the high-water mark passes it."""
        in_flight = self._in_flight.resolve(command_id)
        if in_flight is not None and isinstance(in_flight.command, WriteMessage):
            self._table.set_state(in_flight.command.position, DeliveryState.VOIDED)
            _entry_of(in_flight).pending -= 1
            if in_flight.span is not None:
                in_flight.span.end()
        return in_flight

    def _answer(self, in_flight: InFlightCommand, answer: Answer) -> None:
        if in_flight.call:
            self._state.ports[in_flight.gateway].send(answer)

    # -- everything else ------------------------------------------------------------------------------------------

    def _mailbox_counted(self, outcome: MailboxCounted) -> None:
        entry = self._table.entry(outcome.name)
        entry.total, entry.unread, entry.oldest_unread_id = outcome.total, outcome.unread, outcome.oldest_unread_id
        self._state.record_changed(entry)

    def _allocate_ids(self, request: AllocateIds) -> None:
        first_id = self._in_flight.allocate_ids(request.count)
        agent = self._state.agent_of(request.name) if request.name else ""
        self._in_flight.submit(InFlightCommand(IdsAllocated(first_id, request.count, request.request, agent)))

    def _messages_read(self, outcome: ReadWritten) -> None:
        self._metrics.count(_READ, len(outcome.acknowledged))
        self._advance_states(outcome.acknowledged, DeliveryState.READ)
        self._state.announce_receipts(outcome.senders)
        in_flight = self._in_flight.resolve(outcome.id)
        if in_flight is not None:
            self._answer(in_flight, MessagesRead(in_flight.call, outcome.acknowledged, outcome.unknown))

    def _mailbox_cleared(self, outcome: MailboxCleared) -> None:
        self._advance_states(outcome.message_ids, DeliveryState.VOIDED)
        in_flight = self._in_flight.resolve(outcome.id)
        if in_flight is not None and isinstance(in_flight.command, WriteClear):
            through_id = in_flight.command.through_id
            answer = MailCleared(in_flight.call, len(outcome.message_ids), through_id, outcome.more)
            self._answer(in_flight, answer)

    def _alias_written(self, outcome: AliasWritten) -> None:
        self._state.aliases.set_alias(Alias(outcome.session, outcome.agent, outcome.expires_ms), now_ms())
        for port in self._state.ports:
            port.send(AliasChanged(outcome.session, outcome.agent, outcome.expires_ms))
        in_flight = self._in_flight.resolve(outcome.id)
        if in_flight is not None:
            self._end_pending_alias(in_flight)
            self._answer(in_flight, AliasSet(in_flight.call))

    def _end_pending_alias(self, in_flight: InFlightCommand) -> None:
        command = in_flight.command
        if isinstance(command, WriteAlias) and command.expires_ms:
            self._state.pending_aliases.end(command.session, command.agent)

    def _response_written(self, outcome: ResponseWritten) -> None:
        entry = self._table.entry(outcome.agent)
        entry.newest_response_id = max(entry.newest_response_id, outcome.response_id)
        self._state.record_changed(entry)
        self._state.announce_mail(entry.name)

    def _advance_states(self, message_ids: list[int], state: DeliveryState) -> None:
        for message_id in message_ids:
            self._table.advance_state(message_id, state)


def _entry_of(in_flight: InFlightCommand) -> MailboxEntry:
    assert in_flight.entry is not None  # set for every message
    return in_flight.entry


def _stored(
    in_flight: InFlightCommand,
    outcome: MessageWritten | MessageRepeated,
    message_id: int,
    timestamp_ms: int,
    resolved_ns: int,
) -> MessageStored:
    """Returns the answer to a send whose message is stored, now or by an earlier request."""
    entry = _entry_of(in_flight)
    is_redirected = isinstance(in_flight.command, WriteMessage) and in_flight.command.addressee
    other_mailbox = outcome.mailbox if isinstance(outcome, MessageRepeated) else ""
    return MessageStored(
        in_flight.call,
        message_id,
        timestamp_ms,
        outcome.state,
        outcome.file_error,
        entry.subscribers,
        entry.last_seen_ms,
        isinstance(outcome, MessageRepeated),
        recipient=other_mailbox or (entry.name if is_redirected else ""),
        resolved_ns=resolved_ns,
    )
