"""RequestHandler — takes the gateways' requests in: each becomes an order of the command-queue, or is refused.

Owns the decisions that concern a mailbox (full, looping, who is behind a name) and the gathering of offers.
Not here: a request's own checks (`core.validation`), what an order leads to (`OutcomeHandler`). Above: the mailbox's loop.
Invariant: what is refused here with a sentence has been written nowhere.
"""

__all__ = ["RequestHandler"]

import time

import msgspec

from mailroomd.core.loop_guard import LoopGuard
from mailroomd.ipc.link import Link
from mailroomd.mailbox.delivery_marks import PendingDeliveryMarks
from mailroomd.mailbox.gateway_port import GatewayPort, call_failed
from mailroomd.mailbox.in_flight import Pending
from mailroomd.mailbox.state import MailboxState
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import Reason
from mailroomd.model.ids import format_id
from mailroomd.model.limits import IDLE_AGENTS_KEPT, MAX_ALIASES
from mailroomd.model.message import Draft, pack_draft
from mailroomd.model.settings import Settings
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.observability.metrics import INTAKE_SECONDS, STATES
from mailroomd.observability.tracing import tracing
from mailroomd.protocol.commands import (
    Command,
    CommandRefused,
    Outcome,
    WriteAlias,
    WriteClear,
    WriteGone,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.protocol.packets import (
    CallFailed,
    ClearMailbox,
    CountSubscribers,
    Hello,
    MarkOffered,
    MarkRead,
    MessagesOffered,
    NoteSeen,
    Request,
    SetAlias,
    StoreMessage,
)
from mailroomd.table.entry import MailboxEntry

FULL_RETRY_AFTER_MS = 60_000  # what senders are told when a mailbox is full: its reader has to come first
SEEN_EVERY_MS = 60_000  # how exactly last_seen is kept in the database; the table has it to the millisecond
_OFFERED = STATES.word("offered")


class RequestHandler:
    """Takes requests.

    Args:
        books: the mailbox's state.
        settings: the bounds.
        link: to the command-queue, for what is not ordered.
    """

    def __init__(self, books: MailboxState, settings: Settings, link: Link[Outcome, Command]) -> None:
        self._books = books
        self._table = books.table
        self._orders = books.orders
        self._metrics = books.metrics
        self._settings = settings
        self._link = link
        self._guard = LoopGuard(settings.loop_guard_per_min)
        self._offers = PendingDeliveryMarks()

    def take_settings(self, settings: Settings) -> None:
        """Uses these bounds from now on."""
        self._settings = settings
        self._guard.limit_per_min = settings.loop_guard_per_min

    def take(self, port: GatewayPort, item: Request | Hello) -> None:
        """Carries out one request of a gateway.

        Raises:
            TableFull: the table has no room for a message; nothing was done.
        """
        match item:
            case StoreMessage():
                self._store_message(port, item)
            case MarkRead():
                self._note_seen(self._table.entry(self._books.agent_of(item.agent)))
                number = self._orders.issue(max(1, len(item.message_ids)))
                self._orders.order(Pending(WriteRead(number, item.agent, item.message_ids), port.number, item.call))
            case MarkOffered():
                self._mark_offered(port, item)
            case ClearMailbox():
                number = self._orders.issue()
                command = WriteClear(number, item.agent, min(item.through_id, number), item.limit)
                self._orders.order(Pending(command, port.number, item.call))
            case SetAlias():
                self._set_alias(port, item)
            case CountSubscribers():
                self._count_subscribers(port, item)
            case NoteSeen():
                self._note_seen(self._table.entry(item.agent))
            case Hello():
                self._welcome(port, item)

    def offers_due(self, now_sec: float) -> float:
        """Returns after how many seconds to call `order_offers`, on the monotonic clock."""
        return self._offers.due(now_sec)

    def order_offers(self) -> None:
        """InFlightCommands what was handed over, if other commands go now or it has waited long enough."""
        for agent, numbers in self._offers.take(time.monotonic(), others_go=self._link.backlog > 0):
            self._orders.order(Pending(WriteOffered(self._orders.issue(len(numbers)), agent, numbers, now_ms())))

    def forget_idle_agents(self) -> None:
        """Forgets agents that have no mail, when there are too many of them."""
        for name in self._table.forget_idle(IDLE_AGENTS_KEPT):
            self._link.send(WriteGone(name))

    # -- sends ----------------------------------------------------------------------------------------------------

    def _store_message(self, port: GatewayPort, item: StoreMessage) -> None:
        at_ms, at_ns = now_ms(), time.monotonic_ns()
        self._metrics.observe(INTAKE_SECONDS.at, at_ns - item.asked_ns)
        draft, addressee = self._led_by_alias(item.draft)
        entry = self._table.entry(draft.recipient)
        number = self._orders.issue(2, at_ms)  # the second is the place of its first receipt
        refusal = None if item.resubmitted else self._refusal(number, draft, entry)
        if refusal is not None and not item.client_key:
            port.send(call_failed(item.call, refusal))
            return
        body = pack_draft(draft)
        position = self._table.append(number, at_ms, entry, body, DeliveryState.FILED)
        span = tracing.start_span("mailbox", item.trace, message_id=format_id(number)) if item.trace else None
        trace = tracing.traceparent_of(span) if item.trace else ""
        command = WriteMessage(
            number, position, item.key, item.client_key, item.resubmitted, refusal, len(body), addressee, trace
        )
        self._orders.order(Pending(command, port.number, item.call, entry, draft.sender, at_ms, at_ns, span))
        if log.is_debugging:
            log.debug("message ordered", message_id=format_id(number), request=item.key, recipient=draft.recipient)
        self._note_seen(self._table.entry(self._books.agent_of(draft.sender)))

    def _led_by_alias(self, draft: Draft) -> tuple[Draft, str]:
        """Returns the draft for the mailbox that it goes to, and the name that its sender wrote if that is another."""
        recipient = self._books.agent_of(draft.recipient)
        if recipient == draft.recipient:
            return draft, ""
        return msgspec.structs.replace(draft, recipient=recipient), draft.recipient

    def _refusal(self, number: int, draft: Draft, entry: MailboxEntry) -> CommandRefused | None:
        """Returns why a message may not enter its mailbox, unless it is there already; None if it may."""
        limit = self._settings.max_unread
        if entry.unread + entry.pending >= limit:
            sentence = f"{draft.recipient} has {limit:,} unread messages, which is the limit: it has to read some first"
            return CommandRefused(number, Reason.MAILBOX_FULL, sentence, FULL_RETRY_AFTER_MS, "recipient")
        sender = self._books.agent_of(draft.sender)
        wait_ms = self._guard.admit(sender, draft.recipient, time.monotonic_ns() // 1_000_000)
        if wait_ms:
            return CommandRefused(number, Reason.LOOP_GUARD, self._loop_sentence(draft), wait_ms, "sender")
        return None

    def _loop_sentence(self, draft: Draft) -> str:
        return (
            f"{draft.sender} and {draft.recipient} answer each other more than {self._settings.loop_guard_per_min} "
            "times a minute: it looks like a loop, stop one of them (--loop-guard sets the limit)"
        )

    # -- everything else ------------------------------------------------------------------------------------------

    def _mark_offered(self, port: GatewayPort, item: MarkOffered) -> None:
        offered = [number for number in item.message_ids if self._table.offer(number, item.agent)]
        if offered:
            self._metrics.count(_OFFERED, len(offered))
            self._offers.add(item.agent, offered, time.monotonic())
        if item.call:  # its agent says so itself
            self._note_seen(self._table.entry(self._books.agent_of(item.agent)))
            port.send(MessagesOffered(item.call))

    def _set_alias(self, port: GatewayPort, item: SetAlias) -> None:
        refusal = self._alias_refusal(item) if item.expires_ms else None
        if refusal is not None:
            port.send(refusal)
            return
        command = WriteAlias(self._orders.issue(), item.session, item.agent, item.expires_ms)
        self._orders.order(Pending(command, port.number, item.call))
        self._note_seen(self._table.entry(item.agent))

    def _alias_refusal(self, item: SetAlias) -> CallFailed | None:
        conflict = self._alias_conflict(item.session, item.agent)
        if conflict:
            return CallFailed(item.call, Reason.ALIAS_CONFLICT, conflict, "agent", 0)
        aliases = self._books.aliases
        if len(aliases) < MAX_ALIASES or item.session in aliases:
            return None
        aliases.forget_expired(now_ms())
        if len(aliases) < MAX_ALIASES:
            return None
        sentence = f"there are {MAX_ALIASES:,} aliases, which is the limit: end some, or give them a shorter ttl"
        return CallFailed(item.call, Reason.TOO_MANY_ALIASES, sentence, "session", 0)

    def _alias_conflict(self, session: str, agent: str) -> str:
        """Returns why a session can't be an alias of an agent: one alias never leads to another."""
        behind = self._books.agent_of(agent)
        if behind != agent:
            return f"{agent} is itself a session of {behind}: name {behind} as the agent, or end that alias first"
        if self._books.aliases.sessions_of(session, now_ms()):
            return f"{session} is an agent with sessions of its own: end their aliases first, or name another session"
        return ""

    def _note_seen(self, entry: MailboxEntry) -> None:
        at_ms = now_ms()
        is_known = entry.last_seen_ms > 0
        entry.last_seen_ms = at_ms
        self._books.touch(entry)
        if not is_known or at_ms - entry.seen_written_ms >= SEEN_EVERY_MS:
            entry.seen_written_ms = at_ms
            self._link.send(WriteSeen(entry.name, at_ms))
        if not self._orders:
            self._books.publish_touched()

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
