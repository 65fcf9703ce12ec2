"""NewMessages — stores a new message as a row, unless the message or its request is already stored.

Owns the result of a send, and its recognition after a restart or under an idempotency key. It works in the open
transaction of `MessageStore`. Not here: the keys (`RequestKeys`), the form of a row (`rows`).
Invariant: an id is used for one commit only; a request is stored at most once.
"""

__all__ = ["NewMail", "NewMessages", "StoredMail"]

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from mailroomd.core.forwarding.position import Verdict
from mailroomd.model.errors import Reason
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.message import Draft
from mailroomd.model.names import host_of
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.operations import Origin, Refused, Send, Sent
from mailroomd.protocol.packets import Command
from mailroomd.storage.database.arrivals import Arrivals
from mailroomd.storage.database.forward_queue import ForwardQueue
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.reply_deadlines import ReplyDeadlines
from mailroomd.storage.database.request_keys import KeyReused, RequestKeys
from mailroomd.storage.database.rows import INSERT_MESSAGE, departing_row_of, row_of

RETRY_AFTER_LOSS_MS = 100  # the sender's next attempt gets an id of its own, so it need not wait
RETRY_AFTER_BACKLOG_MS = 60_000
TEAM_PENDING = "being written"  # until the team inbox has its entry
_LOST = "message buffer overrun before storage; retry"
_NOT_STORED = "the message could not be stored; retry"
_OUT_OF_ORDER = "a message before this one is not stored yet; retry"


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One message that a transaction made durable, and whose file is to be written."""

    id: int
    timestamp_ms: int
    draft: Draft

    @property
    def is_for_team(self) -> bool:
        """Whether it also needs an entry in a native team inbox."""
        return "@" in self.draft.recipient and not self.departs

    @property
    def departs(self) -> bool:
        """Whether it is for another host, and has no inbox file here."""
        return ":" in self.draft.recipient


@dataclass(frozen=True, slots=True)
class NewMail:
    """A message that is to be stored.

    Attributes:
        command: asks for it; `send` is its operation.
        mail: the message; None if the mailbox table no longer has its record.
    """

    command: Command
    send: Send
    mail: StoredMail | None

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to it."""
        return self.command.last_id


class NewMessages:
    """Writes new messages.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        keys: of earlier requests.
        counters: of the mailboxes.
        deadlines: for answers.
        forward_queue: takes the messages for other hosts.
        arrivals: admits those from other hosts.
        max_forward_bytes: returns how much may wait for one other host.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        keys: RequestKeys,
        counters: MailboxCounters,
        deadlines: ReplyDeadlines,
        forward_queue: ForwardQueue,
        arrivals: Arrivals,
        max_forward_bytes: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._counters = counters
        self._deadlines = deadlines
        self._forward_queue = forward_queue
        self._arrivals = arrivals
        self._max_forward_bytes = max_forward_bytes

    def write(self, new: NewMail, mail: list[StoredMail], last_id: int, now_ms: int) -> Sent | Refused:
        """Adds a message to those of the transaction, unless it or its request is already stored; returns the result.

        Args:
            mail: the transaction's messages so far, for `insert`.
            last_id: the highest id that earlier transactions used.
        """
        command, message = new.command, new.mail
        if command.id <= last_id:
            stored = self._result_of_stored(command.id)
            if stored is not None:
                return stored
        origin = new.send.origin
        earlier = (
            self._result_of_arrived(command, origin) if origin else self._result_of_repeated(command, new.send, mail)
        )
        if earlier is not None:
            return earlier
        if command.refusal is not None:
            return self._refused(command.refusal, command.id, origin, now_ms)
        if message is None:
            return Refused(Reason.STORAGE_FAILED, _LOST, retry_after_ms=RETRY_AFTER_LOSS_MS)
        if command.id <= last_id:  # its transaction failed, later ones did not: an id is used for one commit only
            return Refused(Reason.STORAGE_FAILED, _NOT_STORED, retry_after_ms=RETRY_AFTER_LOSS_MS)
        if message.departs and (refusal := self._backlog_refusal(message)) is not None:
            return refusal
        if origin is None:
            self._keys.remember(new.send, command.id, now_ms)
        else:
            self._arrivals.advance(origin, now_ms)
            self._arrivals.record_origin(command.id, origin)
            self._forward_queue.add_receipt_of(origin, command.id + 1, DeliveryState.FILED, message.timestamp_ms)
        mail.append(message)
        state = DeliveryState.FILED
        if message.departs:
            self._forward_queue.add_message(command.id, message.draft.recipient, _size_of(message.draft))
            state = DeliveryState.STORED
        return Sent(message.id, message.timestamp_ms, state, message.draft.recipient, awaits_team=message.is_for_team)

    def _backlog_refusal(self, message: StoredMail) -> Refused | None:
        """Returns why a message for another host is not taken; None if it is."""
        host, limit = host_of(message.draft.recipient), self._max_forward_bytes()
        if self._forward_queue.waiting_bytes(host) + _size_of(message.draft) <= limit:
            return None
        sentence = (
            f"{limit / (1 << 20):,.0f} MiB wait for host {host} already, which is the limit (--max-forward-size): wait "
            "until it has taken some of them; `mailroom hub hosts` says why it does not"
        )
        return Refused(Reason.HOST_BACKLOG_FULL, sentence, "recipient", RETRY_AFTER_BACKLOG_MS)

    def _result_of_arrived(self, command: Command, origin: Origin) -> Sent | Refused | None:
        """Returns the result of a message from another host that is not to be stored now; None if it is."""
        verdict = self._arrivals.judge(origin)
        if verdict is Verdict.GAP:
            return Refused(Reason.STORAGE_FAILED, _OUT_OF_ORDER, retry_after_ms=RETRY_AFTER_LOSS_MS)
        if verdict is Verdict.REPEATED:
            return Sent(command.id, milliseconds_of(command.id), DeliveryState.READ, command.mailbox, is_repeated=True)
        return None

    def _refused(self, refusal: Refused, receipt_id: int, origin: Origin | None, now_ms: int) -> Refused:
        """Returns a refusal; a message from another host is returned there in the same transaction."""
        if origin is not None:
            self.give_back(origin, receipt_id, f"{refusal.reason}: {refusal.sentence}", now_ms)
        return refusal

    def give_back(self, origin: Origin, receipt_id: int, reason: str, now_ms: int) -> None:
        """Returns a message to the host that it is from, if it is its turn there."""
        if self._arrivals.judge(origin) is Verdict.NEXT:
            self._arrivals.advance(origin, now_ms)
            self._forward_queue.add_receipt_of(origin, receipt_id, DeliveryState.RETURNED, now_ms, reason)

    def insert(self, mail: list[StoredMail], inserted: int, now_ms: int) -> int:
        """Inserts the transaction's messages from the index `inserted` on; returns the next such index."""
        new = mail[inserted:]
        if new:
            rows = [
                departing_row_of(message.id, message.timestamp_ms, message.draft)
                if message.departs
                else row_of(
                    message.id,
                    message.timestamp_ms,
                    message.draft,
                    now_ms,
                    TEAM_PENDING if message.is_for_team else "",
                )
                for message in new
            ]
            self._connection.executemany(INSERT_MESSAGE, rows)
            self._deadlines.record_new(((message.id, message.draft) for message in new), now_ms)
            for message in new:
                self._counters.count_new(message.draft.recipient, message.id)
        return len(mail)

    def recognize(self, command: Command, send: Send) -> Sent | Refused | None:
        """Returns the result of a send that was committed before, by its id or its key; None if it was not."""
        stored = self._result_of_stored(command.id)
        if stored is not None or send.origin is None:
            return stored or self._result_of_repeated(command, send, [])
        return self._result_of_arrived(command, send.origin)

    def _result_of_stored(self, message_id: int) -> Sent | None:
        """Returns the result of a message that was committed before; None if it was not.

        For a command that is received again after a restart. The counts of its mailbox go out with the next commit:
        those of the first commit may have been lost together with its outcome.
        """
        row = self._connection.execute(
            "SELECT timestamp_ms, state, recipient, file_error, team_error FROM messages WHERE id = ?", (message_id,)
        ).fetchone()
        if row is None:
            return None
        timestamp_ms, state, mailbox, file_error, team_error = row
        self._counters.counts_of(mailbox)
        return Sent(message_id, timestamp_ms, state, mailbox, file_error, awaits_team=bool(team_error))

    def _result_of_repeated(self, command: Command, send: Send, mail: list[StoredMail]) -> Sent | Refused | None:
        """Returns the result of a request that was committed before under the same key; None if there was none."""
        try:
            first_id = self._keys.first_id(send, is_resubmitted=command.is_resubmitted)
        except KeyReused as error:
            return Refused(Reason.IDEMPOTENCY_KEY_REUSED, str(error), "idempotency_key")
        return self._repeated(first_id, command.mailbox, mail) if first_id else None

    def _repeated(self, first_id: int, mailbox: str, mail: list[StoredMail]) -> Sent:
        row = self._connection.execute(
            "SELECT timestamp_ms, state, recipient, file_error, team_error, verified FROM messages WHERE id = ?",
            (first_id,),
        ).fetchone()
        if row is not None:
            *stored, verified = row
            return Sent(first_id, *stored, is_repeated=True, first_verified=bool(verified))
        for message in mail:
            if message.id == first_id:  # in this very transaction
                team_error = TEAM_PENDING if message.is_for_team else ""
                return Sent(
                    first_id,
                    message.timestamp_ms,
                    DeliveryState.STORED if message.departs else DeliveryState.FILED,
                    message.draft.recipient,
                    team_error=team_error,
                    is_repeated=True,
                    first_verified=message.draft.verified,
                )
        return Sent(first_id, milliseconds_of(first_id), DeliveryState.READ, mailbox, is_repeated=True)  # deleted


def _size_of(draft: Draft) -> int:
    """Returns how much a message counts while it waits for another host."""
    return len(draft.content.encode()) + len(draft.metadata)
