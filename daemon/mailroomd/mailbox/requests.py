"""RequestHandler — processes the gateways' requests: each operation is submitted to the command-queue, or refused.

Owns the decisions that depend on a mailbox (full, in a message loop, behind an alias), and the pending delivery marks.
Not here: checks of a request alone (`core.validation`), what outcomes change (`OutcomeHandler`). Above: the mailbox's
loop.
Invariant: nothing of a refused request has been written anywhere.
"""

__all__ = ["RequestHandler"]

import time
from collections.abc import Callable

from mailroomd.core.fair_share import Admission, may_use
from mailroomd.core.host_policy import HostPolicy
from mailroomd.core.loop_guard import LoopGuard
from mailroomd.ipc.link import Link
from mailroomd.mailbox.delivery_marks import PendingDeliveryMarks
from mailroomd.mailbox.gateway_port import GatewayPort, Received
from mailroomd.mailbox.in_flight import InFlightCommand
from mailroomd.mailbox.new_names import NewNames
from mailroomd.mailbox.state import MailboxState
from mailroomd.mailbox.unread_shares import UnreadShares
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import Reason
from mailroomd.model.ids import format_id
from mailroomd.model.limits import IDLE_AGENTS_KEPT, MAX_ALIASES
from mailroomd.model.settings import Settings
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import INTAKE_SECONDS, STATES
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.operations import (
    Acknowledge,
    Clear,
    Confirm,
    Done,
    GiveUp,
    Intend,
    MarkOffered,
    RecordReceipts,
    Refused,
    Return,
    Send,
    SetAlias,
)
from mailroomd.protocol.packets import (
    Answer,
    Command,
    CountSubscribers,
    ForgetAgent,
    Hello,
    LazyCommand,
    NoteSeen,
    Outcome,
    Request,
)
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.table.entry import MailboxEntry
from mailroomd.table.writer import TableFull

SEEN_EVERY_MS = 60_000  # precision of last_seen in the database; in the table it is exact
IDS_PER_MESSAGE = 2  # its own, and one for its first receipt
_OFFERED = STATES.word("offered")


class RequestHandler:
    """Processes requests.

    Args:
        state: the mailbox worker's state.
        settings: the limits.
        link: to the command-queue, for lazy commands.
    """

    def __init__(
        self, state: MailboxState, settings: Settings, link: Link[Outcome | Report, Command | LazyCommand]
    ) -> None:
        self._state = state
        self._table = state.table
        self._in_flight = state.in_flight
        self._metrics = state.metrics
        self._settings = settings
        self._link = link
        self._unread_shares = UnreadShares(state.agent_of)
        self._new_names = NewNames()
        self._loop_guard = LoopGuard(settings.loop_guard_per_min)
        self._delivery_marks = PendingDeliveryMarks()
        self._host_policy = HostPolicy(settings.hub_accept, settings.hub_deny)

    def apply_settings(self, settings: Settings) -> None:
        """Uses these limits from now on."""
        self._settings = settings
        self._loop_guard.limit_per_min = settings.loop_guard_per_min
        self._host_policy = HostPolicy(settings.hub_accept, settings.hub_deny)

    def restore_shares(self, archive: MessageArchive, beat: Callable[[], None]) -> None:
        """Counts, when the table is filled and the aliases are known, who holds the reserves of crowded mailboxes."""
        self._unread_shares.restore(archive, self._settings.max_unread, beat)

    def handle_request(self, port: GatewayPort, request: Received) -> None:
        """Processes one request of a gateway.

        Raises:
            TableFull: the table has no room for a message; nothing was done.
        """
        match request:
            case Request():
                self._handle_operation(port, request)
            case CountSubscribers():
                self._count_subscribers(port, request)
            case NoteSeen():
                self._record_seen(self._table.entry(request.agent))
            case Hello():
                self._answer_hello(port, request)

    def _handle_operation(self, port: GatewayPort, request: Request) -> None:
        match request.op:
            case Send() as send:
                self._send(port, request, send)
            case Acknowledge(mailbox, message_ids, by):
                if not by:  # somebody else's doing does not show that the agent is there
                    self._record_seen(self._table.entry(self._state.agent_of(mailbox)))
                self._submit(port, request, max(1, len(message_ids)))
            case MarkOffered() as marks:
                self._mark_offered(port, request, marks)
            case Clear() | Intend() | Confirm() | Return():
                self._submit(port, request)
            case RecordReceipts(receipts):
                self._submit(port, request, max(1, len(receipts)))
            case GiveUp(_, ids):
                self._submit(port, request, max(1, len(ids)))
            case SetAlias() as alias:
                self._set_alias(port, request, alias)

    def _submit(self, port: GatewayPort, request: Request, id_count: int = 1) -> None:
        """Submits an operation under new sequence ids, as it is.

        The delivery marks go first: a message that is read takes no mark any more.
        """
        self._submit_delivery_marks(joins_others=True)
        first_id = self._in_flight.allocate_ids(id_count)
        command = Command(first_id, request.op, id_count, gateway=port.index, call=request.call)
        self._in_flight.submit(InFlightCommand(command))

    def delivery_marks_due_in_sec(self, now_sec: float) -> float:
        """Returns in how many seconds to call `submit_delivery_marks` at the latest; monotonic clock."""
        return self._delivery_marks.due_in_sec(now_sec)

    def submit_delivery_marks(self) -> None:
        """Submits delivery marks if other commands are about to be sent, or if they have waited long enough."""
        self._submit_delivery_marks(joins_others=self._link.backlog > 0)

    def _submit_delivery_marks(self, *, joins_others: bool) -> None:
        drained = self._delivery_marks.drain_due(time.monotonic(), joins_others=joins_others)
        for mailbox, ids in drained:
            command_id = self._in_flight.allocate_ids(len(ids))
            marks = MarkOffered(mailbox, ids, now_ms())
            self._in_flight.submit(InFlightCommand(Command(command_id, marks, len(ids))))

    def forget_idle_agents(self) -> None:
        """Forgets agents without mail when there are too many of them."""
        for name in self._table.forget_idle(IDLE_AGENTS_KEPT):
            self._link.send(ForgetAgent(name))

    # -- sends ----------------------------------------------------------------------------------------------------

    def _send(self, port: GatewayPort, request: Request, send: Send) -> None:
        at_ms, at_ns = now_ms(), time.monotonic_ns()
        self._metrics.observe(INTAKE_SECONDS.at, at_ns - request.asked_ns)
        mailbox, sender = self._state.agent_of(send.recipient), self._state.agent_of(send.sender)
        refusal = self._name_refusal(send, mailbox, sender)
        if refusal is not None:
            port.send(Answer(request.call, refusal))
            return
        entry = self._table.entry(mailbox)
        message_id = self._in_flight.allocate_ids(IDS_PER_MESSAGE, at_ms)
        refusal = self._refusal(send, entry, sender)
        if refusal is not None and not (send.is_client_key or request.is_resubmitted or send.origin):
            port.send(Answer(request.call, refusal))
            return
        position = self._append(message_id, at_ms, entry, request.body, sender, refusal)
        try:
            trace = request.trace
            span = tracing.start_span("mailbox", trace, message_id=format_id(message_id)) if trace else None
            command = Command(
                message_id,
                send,
                IDS_PER_MESSAGE,
                mailbox,
                position,
                len(request.body),
                request.is_resubmitted,
                refusal,
                tracing.traceparent_of(span) if trace else "",
                port.index,
                request.call,
                entry.subscribers,
                entry.last_seen_ms,
            )
            self._in_flight.submit(InFlightCommand(command, entry, at_ns, span))
        except Exception:
            self._void(entry, position)
            raise
        if log.is_debugging:
            log.debug("message submitted", message_id=format_id(message_id), request=send.key, recipient=mailbox)
        self._record_sender(send, sender)

    def _append(
        self, message_id: int, at_ms: int, entry: MailboxEntry, body: bytes, sender: str, refusal: Refused | None
    ) -> int:
        """Appends a message's record to the table, above the high-water mark; returns its position.

        Raises:
            TableFull: the table has no room; nothing was done.
        """
        try:
            return self._table.append(message_id, at_ms, entry, body, DeliveryState.FILED)
        except TableFull:
            self._unread_shares.give_back(entry, sender, refusal)
            raise

    def _record_sender(self, send: Send, sender: str) -> None:
        if send.origin is None:  # an agent of another host is present there
            self._record_seen(self._table.entry(sender))

    def _void(self, entry: MailboxEntry, position: int) -> None:
        """Voids a record that no command will resolve: the high-water mark may pass it now."""
        self._table.set_state(position, DeliveryState.VOIDED)
        entry.pending -= 1

    def _name_refusal(self, send: Send, mailbox: str, sender: str) -> Refused | None:
        """Returns why a message may not make a new mailbox, None if it may or need not."""
        if self._table.has_entry(mailbox) or send.origin is not None:
            return None
        return self._new_names.refusal(send, mailbox, sender, time.monotonic())

    def _refusal(self, send: Send, entry: MailboxEntry, sender: str) -> Refused | None:
        """Returns why a new message may not enter its mailbox, None if it may."""
        if send.origin is not None:
            problem = self._host_policy.refusal(send.origin.host, entry.name)
            if problem:
                return Refused("REFUSED", problem)
        refusal = self._unread_shares.refusal(entry, sender, self._settings.max_unread)
        if (
            refusal is not None or send.origin is not None
        ):  # loops are counted where they begin: a backlog looks like one
            return refusal
        wait_ms = self._loop_guard.admit(sender, entry.name, time.monotonic_ns() // 1_000_000)
        if not wait_ms:
            return None
        sentence = (
            f"{send.sender} and {entry.name} answered each other more than {self._settings.loop_guard_per_min} "
            "times within a minute, which looks like a message loop; stop one of them (--loop-guard sets the limit)"
        )
        return Refused(Reason.LOOP_GUARD, sentence, "sender", wait_ms)

    # -- everything else ------------------------------------------------------------------------------------------

    def _mark_offered(self, port: GatewayPort, request: Request, marks: MarkOffered) -> None:
        offered = [message_id for message_id in marks.message_ids if self._table.offer(message_id, marks.mailbox)]
        if offered:
            self._metrics.count(_OFFERED, len(offered))
            self._delivery_marks.record_delivered(marks.mailbox, offered, time.monotonic())
        if request.call:  # a call of the agent itself, not a stream of the gateway
            self._record_seen(self._table.entry(self._state.agent_of(marks.mailbox)))
            port.send(Answer(request.call, Done()))

    def _set_alias(self, port: GatewayPort, request: Request, alias: SetAlias) -> None:
        refusal = self._alias_refusal(alias) if alias.expires_ms else None
        if refusal is not None:
            port.send(Answer(request.call, refusal))
            return
        self._submit(port, request)
        if alias.expires_ms:
            self._state.pending_aliases.begin(alias.session, alias.agent)
        self._record_seen(self._table.entry(alias.agent))

    def _alias_refusal(self, alias: SetAlias) -> Refused | None:
        conflict = self._alias_conflict(alias.session, alias.agent)
        if conflict:
            return Refused(Reason.ALIAS_CONFLICT, conflict, "agent")
        if alias.session in self._state.aliases or self._may_add_alias(alias.agent) is Admission.ADMITTED:
            return None
        self._state.aliases.remove_expired(now_ms())
        admission = self._may_add_alias(alias.agent)
        if admission is Admission.ADMITTED:
            return None
        sentence = (
            f"there are {MAX_ALIASES:,} aliases, which is the limit; end some of them, or use a shorter ttl"
            if admission is Admission.FULL
            else f"{alias.agent} has {self._alias_count(alias.agent):,} aliases, and the rest of the limit of "
            f"{MAX_ALIASES:,} is reserved for other agents; end some of them, or use a shorter ttl"
        )
        return Refused(Reason.TOO_MANY_ALIASES, sentence, "session")

    def _may_add_alias(self, agent: str) -> Admission:
        used = len(self._state.aliases) + len(self._state.pending_aliases)
        return may_use(MAX_ALIASES, used, self._alias_count(agent))

    def _alias_count(self, agent: str) -> int:
        return self._state.aliases.session_count(agent) + self._state.pending_aliases.count_of(agent)

    def _alias_conflict(self, session: str, agent: str) -> str:
        """Returns why a session cannot be an alias of an agent, "" if it can: an alias never leads to another."""
        actual = self._state.agent_of(agent)
        if actual != agent:
            return f"{agent} is itself a session of {actual}; name {actual} as the agent, or end that alias first"
        pending = self._state.pending_aliases
        if pending.is_session(agent):
            return f"{agent} is about to become a session of another agent; name that agent instead"
        if self._state.aliases.sessions_of(session, now_ms()) or pending.count_of(session):
            return f"{session} is an agent that has sessions; end their aliases first, or name another session"
        return ""

    def _record_seen(self, entry: MailboxEntry) -> None:
        at_ms = now_ms()
        is_known = entry.last_seen_ms > 0
        self._table.record_seen(entry, at_ms)
        self._state.record_changed(entry)
        if not is_known or at_ms - entry.seen_written_ms >= SEEN_EVERY_MS:
            entry.seen_written_ms = at_ms
            self._link.send(NoteSeen(entry.name, at_ms))
        if not self._in_flight:  # otherwise the next outcome leads to it
            self._state.publish_changed()

    def _count_subscribers(self, port: GatewayPort, request: CountSubscribers) -> None:
        entry = self._table.entry(request.agent)
        entry.subscribers += request.count - port.subscribers.get(request.agent, 0)
        if request.count:
            port.subscribers[request.agent] = request.count
        else:
            port.subscribers.pop(request.agent, None)
        self._record_seen(entry)
        entry.publish()

    def _answer_hello(self, port: GatewayPort, hello: Hello) -> None:
        """Answers a gateway that restarted: its calls and subscribers are gone."""
        for agent, count in port.subscribers.items():
            entry = self._table.entry(agent)
            entry.subscribers -= count
            entry.publish()
        port.answer_hello(hello)
