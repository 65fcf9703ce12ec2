"""NewMessages — stores a new message as a row, unless the message or its request is already stored.

Owns the outcome of a send, and its recognition after a restart or under an idempotency key. It works in the open
transaction of `MessageStore`. Not here: the keys (`RequestKeys`), the form of a row (`rows`).
Invariant: an id is used for one commit only; a request is stored at most once.
"""

__all__ = ["NewMail", "NewMessages", "StoredMail"]

import sqlite3
from dataclasses import dataclass

from mailroomd.model.errors import Reason
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.commands import CommandRefused, MessageRepeated, MessageWritten, Outcome, WriteMessage
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.request_keys import KeyReused, RequestKeys
from mailroomd.storage.database.rows import INSERT_MESSAGE, row_of

RETRY_AFTER_LOSS_MS = 100  # the sender's next attempt gets an id of its own, so it need not wait
TEAM_PENDING = "being written"  # until the team inbox has its entry
_LOST = "message buffer overrun before storage; retry"
_NOT_STORED = "the message could not be stored; retry"


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One message that a transaction made durable, and whose file is to be written."""

    id: int
    timestamp_ms: int
    draft: Draft

    @property
    def is_for_team(self) -> bool:
        """Whether it also needs an entry in a native team inbox."""
        return "@" in self.draft.recipient


@dataclass(frozen=True, slots=True)
class NewMail:
    """A message that is to be stored.

    Attributes:
        command: asks for it.
        mail: the message; None if the mailbox table no longer has its record.
    """

    command: WriteMessage
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
    """

    def __init__(self, connection: sqlite3.Connection, keys: RequestKeys, counters: MailboxCounters) -> None:
        self._connection = connection
        self._keys = keys
        self._counters = counters

    def write(self, new: NewMail, mail: list[StoredMail], last_id: int, now_ms: int) -> Outcome:
        """Adds a message to those of the transaction, unless it or its request is already stored; returns the outcome.

        Args:
            mail: the transaction's messages so far, for `insert`.
            last_id: the highest id that earlier transactions used.
        """
        command, message = new.command, new.mail
        if command.id <= last_id:
            stored = self._outcome_of_stored(command.id)
            if stored is not None:
                return stored
        if message is None:
            return CommandRefused(command.id, Reason.STORAGE_FAILED, _LOST, RETRY_AFTER_LOSS_MS)
        repeated = self._outcome_of_repeated(command, message.draft, mail)
        if repeated is not None:
            return repeated
        if command.refusal is not None:
            return command.refusal
        if command.id <= last_id:  # its transaction failed, later ones did not: an id is used for one commit only
            return CommandRefused(command.id, Reason.STORAGE_FAILED, _NOT_STORED, RETRY_AFTER_LOSS_MS)
        self._keys.remember(command, message.draft, now_ms)
        mail.append(message)
        return MessageWritten(command.id, DeliveryState.FILED, is_for_team=message.is_for_team)

    def insert(self, mail: list[StoredMail], inserted: int, now_ms: int) -> int:
        """Inserts the transaction's messages from the index `inserted` on; returns the next such index."""
        new = mail[inserted:]
        if new:
            rows = [
                row_of(
                    message.id,
                    message.timestamp_ms,
                    message.draft,
                    now_ms,
                    TEAM_PENDING if message.is_for_team else "",
                )
                for message in new
            ]
            self._connection.executemany(INSERT_MESSAGE, rows)
            for message in new:
                self._counters.count_new(message.draft.recipient, message.id)
        return len(mail)

    def recognize(self, new: NewMail) -> Outcome | None:
        """Returns the outcome of a send that was committed before, by its id or its key; None if it was not."""
        stored = self._outcome_of_stored(new.command.id)
        if stored is not None or new.mail is None:
            return stored
        return self._outcome_of_repeated(new.command, new.mail.draft, [])

    def _outcome_of_stored(self, message_id: int) -> MessageWritten | None:
        """Returns the outcome of a message that was committed before; None if it was not.

        For a command that is received again after a restart. The counts of its mailbox go out with the next commit:
        those of the first commit may have been lost together with its outcome.
        """
        row = self._connection.execute(
            "SELECT state, file_error, team_error, recipient FROM messages WHERE id = ?", (message_id,)
        ).fetchone()
        if row is None:
            return None
        state, file_error, team_error, recipient = row
        self._counters.counts_of(recipient)
        return MessageWritten(message_id, state, file_error, is_for_team=bool(team_error))

    def _outcome_of_repeated(self, command: WriteMessage, draft: Draft, mail: list[StoredMail]) -> Outcome | None:
        """Returns the outcome of a request that was committed before under the same key; None if there was none."""
        try:
            original_id = self._keys.first_id(command, draft)
        except KeyReused as error:
            return CommandRefused(command.id, Reason.IDEMPOTENCY_KEY_REUSED, str(error), 0, "idempotency_key")
        return self._repeated(command.id, original_id, draft.recipient, mail) if original_id else None

    def _repeated(self, command_id: int, original_id: int, mailbox: str, mail: list[StoredMail]) -> MessageRepeated:
        row = self._connection.execute(
            "SELECT timestamp_ms, state, file_error, team_error, CASE recipient WHEN ? THEN '' ELSE recipient END"
            " FROM messages WHERE id = ?",
            (mailbox, original_id),
        ).fetchone()
        if row is not None:
            return MessageRepeated(command_id, original_id, *row)
        for message in mail:
            if message.id == original_id:  # in this very transaction
                return MessageRepeated(
                    command_id,
                    original_id,
                    message.timestamp_ms,
                    DeliveryState.FILED,
                    "",
                    TEAM_PENDING if message.is_for_team else "",
                    "" if message.draft.recipient == mailbox else message.draft.recipient,
                )
        return MessageRepeated(command_id, original_id, milliseconds_of(original_id), DeliveryState.READ, "")  # deleted
