"""OutcomeHandler — processes outcomes: updates the mailbox table, answers the waiting call, announces what is new.

Owns the answers that wait for a native team inbox. Not here: requests (`RequestHandler`), and the high-water mark (the
mailbox's loop advances it once all outcomes received so far are processed). Above: the mailbox's loop.
Invariant: a message is announced, and its sender answered, only because of its outcome.
"""

__all__ = ["OutcomeHandler"]

import time

import msgspec

from mailroomd.core.aliases import Alias
from mailroomd.mailbox.in_flight import InFlightCommand
from mailroomd.mailbox.state import MailboxState
from mailroomd.model.clock import now_ms
from mailroomd.model.ids import format_id
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import REPEATS, SENDS, STATES, STORE_SECONDS
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.operations import (
    Acknowledged,
    Cleared,
    Done,
    IdsAllocated,
    Result,
    Send,
    Sent,
    SetAlias,
)
from mailroomd.protocol.packets import AliasChanged, Answer, Command, Outcome
from mailroomd.protocol.reports import (
    AllocateIds,
    MailboxCounted,
    Report,
    ResponseStored,
    StatesAdvanced,
    StorageStateChanged,
    TeamInboxSettled,
)

TEAM_WRITER_RESTARTED = "the worker that writes team inboxes restarted; the entry will be written later"
_STORED, _FILED, _READ, _EXPIRED, _RETURNED = map(STATES.word, ("stored", "filed", "read", "expired", "returned"))
_COUNTED = {
    DeliveryState.FILED: _FILED,
    DeliveryState.READ: _READ,
    DeliveryState.EXPIRED: _EXPIRED,
    DeliveryState.RETURNED: _RETURNED,
}


class OutcomeHandler:
    """Processes the outcomes and reports of the command-queue.

    Args:
        state: the mailbox worker's state.
    """

    def __init__(self, state: MailboxState) -> None:
        self._state = state
        self._table = state.table
        self._in_flight = state.in_flight
        self._metrics = state.metrics
        self._awaiting_team: dict[int, tuple[int, Answer, Sent]] = {}  # message id: gateway, answer, its result

    def handle_outcome(self, outcome: Outcome | Report) -> None:
        """Processes one outcome or report; an outcome whose command was resolved before changes nothing."""
        match outcome:
            case Outcome():
                self._resolve(outcome)
            case MailboxCounted():
                self._mailbox_counted(outcome)
            case AllocateIds():
                self._allocate_ids(outcome)
            case TeamInboxSettled():
                self._team_inbox_settled(outcome)
            case StatesAdvanced(state, message_ids):
                self._advance_states(message_ids, DeliveryState(state))
            case ResponseStored():
                self._response_stored(outcome)
            case StorageStateChanged():
                for port in self._state.ports:
                    port.send_storage_state(outcome)

    def answer_without_team(self) -> None:
        """Answers the sends that wait for a team inbox when its writer restarts, which will not report on them."""
        for message_id in list(self._awaiting_team):
            self._team_inbox_settled(TeamInboxSettled(message_id, TEAM_WRITER_RESTARTED))

    def _resolve(self, outcome: Outcome) -> None:
        in_flight = self._in_flight.resolve(outcome.id)
        if in_flight is None:
            return  # before the command-queue restarted
        self._state.announce_receipts(outcome.receipt_senders)
        match in_flight.command.op, outcome.result:
            case Send() as send, Sent(is_repeated=False) as sent:
                self._message_sent(in_flight, send, sent, is_answered=outcome.is_answered)
            case Send(), result:
                self._message_voided(in_flight, result)
            case _, Acknowledged() as result:
                self._messages_acknowledged(in_flight, result)
            case _, Cleared() as result:
                self._mailbox_cleared(in_flight, result)
            case SetAlias() as alias, result:
                self._alias_resolved(in_flight, alias, result)
            case _, result:
                self._answer(in_flight, result)

    # -- sends ----------------------------------------------------------------------------------------------------

    def _message_sent(self, in_flight: InFlightCommand, send: Send, sent: Sent, *, is_answered: bool) -> None:
        announced_ns = time.time_ns() if in_flight.span is not None else 0
        entry, command = in_flight.message_entry, in_flight.command
        if sent.state != DeliveryState.FILED:
            self._table.set_state(command.position, DeliveryState(sent.state))
        entry.pending -= 1
        entry.newest_position = command.position
        self._state.record_changed(entry)
        self._state.announce_mail(entry.name)
        self._state.announce_receipts((send.sender,))
        now_ns = time.monotonic_ns()
        self._count_stored(in_flight, sent, now_ns)
        if not is_answered:
            answer = Answer(command.call, sent, entry.subscribers, entry.last_seen_ms, now_ns)
            if sent.awaits_team:
                self._awaiting_team[sent.id] = command.gateway, answer, sent
            else:
                self._send_answer(command.gateway, answer)
        if in_flight.span is not None:
            tracing.record_span(
                "announce", tracing.traceparent_of(in_flight.span), announced_ns, message_id=format_id(sent.id)
            )
            in_flight.span.end()

    def _count_stored(self, in_flight: InFlightCommand, sent: Sent, now_ns: int) -> None:
        metrics = self._metrics
        metrics.count(SENDS.at)
        metrics.count(_STORED)
        if sent.state == DeliveryState.FILED:
            metrics.count(_FILED)
        metrics.observe(STORE_SECONDS.at, now_ns - in_flight.submitted_ns)
        if log.is_debugging:
            state = DeliveryState(sent.state).name
            log.debug("message announced", message_id=format_id(sent.id), state=state.lower())

    def _team_inbox_settled(self, settled: TeamInboxSettled) -> None:
        waiting = self._awaiting_team.pop(settled.message_id, None)
        if waiting is not None:
            gateway, answer, sent = waiting
            sent = msgspec.structs.replace(sent, team_error=settled.error)
            self._send_answer(gateway, msgspec.structs.replace(answer, result=sent))

    def _message_voided(self, in_flight: InFlightCommand, result: Result) -> None:
        """Voids the record of a repeated or refused message, before the high-water mark passes it."""
        entry = in_flight.message_entry
        self._table.set_state(in_flight.command.position, DeliveryState.VOIDED)
        entry.pending -= 1
        if in_flight.span is not None:
            in_flight.span.end()
        if isinstance(result, Sent):
            self._metrics.count(REPEATS.at)
        self._send_answer(
            in_flight.command.gateway,
            Answer(in_flight.command.call, result, entry.subscribers, entry.last_seen_ms, time.monotonic_ns()),
        )

    def _answer(self, in_flight: InFlightCommand, result: Result) -> None:
        self._send_answer(in_flight.command.gateway, Answer(in_flight.command.call, result))

    def _send_answer(self, gateway: int, answer: Answer) -> None:
        if answer.call:
            self._state.ports[gateway].send(answer)

    # -- everything else ------------------------------------------------------------------------------------------

    def _messages_acknowledged(self, in_flight: InFlightCommand, result: Acknowledged) -> None:
        self._advance_states(result.message_ids, DeliveryState.READ)
        self._answer(in_flight, result)

    def _mailbox_cleared(self, in_flight: InFlightCommand, result: Cleared) -> None:
        self._advance_states(result.message_ids, DeliveryState.VOIDED)
        self._answer(in_flight, result)

    def _alias_resolved(self, in_flight: InFlightCommand, alias: SetAlias, result: Result) -> None:
        if isinstance(result, Done):
            self._state.aliases.set_alias(Alias(alias.session, alias.agent, alias.expires_ms), now_ms())
            for port in self._state.ports:
                port.send(AliasChanged(alias.session, alias.agent, alias.expires_ms))
        if alias.expires_ms:
            self._state.pending_aliases.end(alias.session, alias.agent)
        self._answer(in_flight, result)

    def _mailbox_counted(self, counted: MailboxCounted) -> None:
        entry = self._table.entry(counted.name)
        entry.total, entry.unread, entry.oldest_unread_id = counted.total, counted.unread, counted.oldest_unread_id
        self._state.record_changed(entry)

    def _allocate_ids(self, request: AllocateIds) -> None:
        first_id = self._in_flight.allocate_ids(request.count)
        agent = self._state.agent_of(request.name) if request.name else ""
        command = Command(first_id, IdsAllocated(request.request, agent), request.count)
        self._in_flight.submit(InFlightCommand(command))

    def _response_stored(self, stored: ResponseStored) -> None:
        entry = self._table.entry(stored.agent)
        entry.newest_response_id = max(entry.newest_response_id, stored.response_id)
        self._state.record_changed(entry)
        self._state.announce_mail(entry.name)

    def _advance_states(self, message_ids: list[int], state: DeliveryState) -> None:
        if state in _COUNTED:
            self._metrics.count(_COUNTED[state], len(message_ids))
        for message_id in message_ids:
            self._table.advance_state(message_id, state)
