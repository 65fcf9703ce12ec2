"""MessageStore — the one writer of the database: commits what has gathered in one transaction.

Owns the outcome of each command, new messages, and the marks `last_id` and `synced_id`. What happens to messages later
is `MessageSteps`', what the files are known to be is `FileLedger`'s, deleting is `Retention`'s.
Not here: keys (`RequestKeys`), counters (`MailboxCounters`), inbox files (`InboxFiles`), when to commit. Above: the
command-queue.
Invariant: a transaction is whole or absent, its messages are in id order, and `last_id` is at least their highest id.
"""

__all__ = ["Committed", "MessageStore", "SequencedEvent", "StoredMail"]

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mailroomd.model.errors import Reason
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.commands import (
    AliasWritten,
    Command,
    CommandRefused,
    LazyCommand,
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
    WriteAlias,
    WriteClear,
    WriteGone,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.protocol.local_events import FilesTaken, LocalEvent, MailExpired, MailFiled, ResponseLeft
from mailroomd.storage.database.alias_rows import AliasRows
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.message_steps import MessageSteps
from mailroomd.storage.database.receipts import ReceiptRows
from mailroomd.storage.database.request_keys import KeyReused, RequestKeys
from mailroomd.storage.database.responses import ResponseRows
from mailroomd.storage.database.retention import Retention
from mailroomd.storage.database.rows import INSERT_MESSAGE, row_of
from mailroomd.storage.database.search_index import SearchIndex
from mailroomd.storage.database.transactions import Transactions

ROW_LOG_BYTES = 1000  # that each message adds to the log beside its content, about
RETRY_AFTER_LOSS_MS = 100  # the sender's next try gets an id of its own, so it need not wait
TEAM_PENDING = "it is being written"  # until the team inbox has its entry
_LOST = "the message was lost on its way: send it again"
_NOT_STORED = "the message could not be stored: send it again"


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One message that a transaction made durable, and whose file is to be written."""

    id: int
    timestamp_ms: int
    draft: Draft

    @property
    def is_for_team(self) -> bool:
        """Whether an entry in a native team inbox is due, too."""
        return "@" in self.draft.recipient


@dataclass(frozen=True, slots=True)
class SequencedEvent:
    """What the command-queue found, at the places that it was granted; `agent` is who hears of a response."""

    id: int
    last_id: int
    finding: LocalEvent | None
    agent: str = ""


@dataclass(slots=True)
class Committed:
    """What one transaction did.

    Attributes:
        outcomes: how the touched mailboxes stand, then one for each command with an id, in their order. The counts come
            first so that whoever is told of a message never finds counts that don't know it.
        mail: the messages whose files are to be written, in id order.
        removed: (mailbox, ids) whose files are to be taken away.
    """

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    mail: list[StoredMail] = field(default_factory=list[StoredMail])
    removed: list[tuple[str, list[int]]] = field(default_factory=list[tuple[str, list[int]]])


class MessageStore:
    """Writes the database.

    Args:
        state_dir: where `mailroom.db` lies.
        mail_at: reads the message that a command refers to; raises LookupError if it is not there.
        beat: called while an old database is brought up to date, for the heartbeat.

    Attributes:
        files: what is known of the inbox files.
        search: the full-text index.
        transactions: to be used for what is not written here.

    Raises:
        DatabaseTooNew, sqlite3.Error, StoreFailed: as in `Transactions`.
    """

    def __init__(
        self, state_dir: Path, mail_at: Callable[[WriteMessage], StoredMail], beat: Callable[[], None] = lambda: None
    ) -> None:
        self.transactions = Transactions(state_dir, beat)
        self._connection = self.transactions.connection
        self._mail_at = mail_at
        self._keys = RequestKeys(self._connection)
        self._counters = MailboxCounters(self._connection)
        self._receipts = ReceiptRows(self._connection)
        self._responses = ResponseRows(self._connection)
        self._aliases = AliasRows(self._connection)
        self._steps = MessageSteps(self._connection, self._counters, self._receipts, self._responses)
        self.search = SearchIndex(self._connection)
        self.files = FileLedger(self.transactions)
        self._retention = Retention(self._connection, self._counters, self._receipts, self.search)

    def close(self) -> None:
        """Folds the log into the database and closes it."""
        self.transactions.close()

    def mark(self, name: str) -> int:
        """Returns the mark `last_id` or `synced_id`."""
        row: tuple[int] = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0]

    def adopt_root(self, root: Path) -> bool:
        """Takes note of whose inbox files these are; returns whether the last ones were another root's.

        Then nothing counts as synced: a file that is missing here was never here.
        """
        identity = int.from_bytes(hashlib.blake2b(os.fsencode(root.resolve()), digest_size=7).digest())
        known = self._connection.execute("SELECT value FROM meta WHERE name = 'root'").fetchone()
        if known == (identity,):
            return False
        with self.transactions.durable():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('root', ?)", (identity,))
            if known is not None:
                self._connection.execute("UPDATE meta SET value = 0 WHERE name = 'synced_id'")
        return known is not None

    # -- the group commit -----------------------------------------------------------------------------------------

    def commit(self, commands: Sequence[Command | SequencedEvent], now_ms: int, *, lazily: bool = False) -> Committed:
        """Carries out commands, in order, in one durable transaction.

        Args:
            lazily: skip the fsync, for commands that may be lost in a power cut.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        done = Committed()
        with self._counting(self.transactions.lazy() if lazily else self.transactions.durable()):
            last_id = self.mark("last_id")
            inserted = 0
            for command in commands:
                if not isinstance(command, WriteMessage):
                    inserted = self._insert(done.mail, inserted, now_ms)
                self._carry_out(command, done, last_id, now_ms)
            self._insert(done.mail, inserted, now_ms)
            highest = max((one.last_id for one in commands if not isinstance(one, LazyCommand)), default=0)
            if highest > last_id:
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (highest,))
            done.outcomes[:0] = self._counters.settle()
        self.transactions.unsettled_bytes += sum(len(one.draft.content) + ROW_LOG_BYTES for one in done.mail)
        return done

    def import_mail(self, mail: Sequence[StoredMail], now_ms: int) -> None:
        """Commits messages whose inbox files are there already, in id order, all above `last_id`.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        if mail:
            with self._counting(self.transactions.durable()):
                self._insert(list(mail), 0, now_ms)
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (mail[-1].id + 1,))
                self._counters.settle()

    def note_synced(self, synced_id: int) -> None:
        """Notes that every file up to an id is on the disk, without an fsync of its own."""
        with self.transactions.lazy():
            self.files.write_notes()  # or a file that is known to be missing would count as taken by its agent
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'synced_id'", (synced_id,))
        self.files.forget_notes()

    def _carry_out(self, command: Command | SequencedEvent, done: Committed, last_id: int, now_ms: int) -> None:
        match command:
            case WriteMessage():
                done.outcomes.append(self._write_message(command, done.mail, last_id))
            case WriteRead():
                known, senders = self._steps.read(command.id, command.agent, command.message_ids, now_ms)
                unknown = sorted(set(command.message_ids).difference(known))
                done.outcomes.append(ReadWritten(command.id, command.agent, known, unknown, list(senders)))
                done.removed.append((command.agent, known))
            case WriteOffered():
                senders = self._steps.offer(command.id, command.agent, command.message_ids, command.offered_ms)
                done.outcomes.append(StepsWritten(command.id, list(senders)))
            case WriteSeen():
                self._connection.execute(
                    "INSERT INTO mailboxes (name, last_seen_ms) VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
                    (command.agent, command.seen_ms),
                )
            case WriteGone():
                self._connection.execute("DELETE FROM mailboxes WHERE name = ? AND total = 0", (command.agent,))
            case WriteClear():
                cleared = self._retention.clear(command, now_ms)
                done.outcomes.append(cleared)
                done.removed.append((command.agent, cleared.message_ids))
            case WriteAlias():
                self._aliases.write(command.session, command.agent, command.expires_ms)
                done.outcomes.append(AliasWritten(command.id, command.session, command.agent, command.expires_ms))
            case SequencedEvent():
                self._write_found(command, done, now_ms)
            case _:
                raise TypeError(f"{type(command).__name__} is no command of the store")

    def _write_found(self, found: SequencedEvent, done: Committed, now_ms: int) -> None:
        """Commits what was found, at its places; where nothing is known of the grant (any more), nothing."""
        senders: dict[str, None] = {}
        match found.finding:
            case FilesTaken(mailbox, message_ids):
                known, senders = self._steps.read(found.id, mailbox, message_ids, now_ms)
                done.outcomes.append(MessagesTaken(mailbox, known))
            case MailExpired(message_ids):
                expired, senders = self._steps.expire(found.id, message_ids, now_ms)
                done.outcomes.append(MessagesExpired([number for numbers in expired.values() for number in numbers]))
                done.removed.extend(expired.items())
            case MailFiled(message_ids):
                senders = self._steps.file(found.id, message_ids, now_ms)
                done.outcomes.extend(map(MessageFiled, message_ids))
            case ResponseLeft() as left:
                if self._responses.write(found.id, found.agent, left, now_ms):
                    done.outcomes.append(ResponseWritten(found.agent, found.id))
            case None:
                pass
        done.outcomes.append(StepsWritten(found.id, list(senders)))

    def _write_message(self, command: WriteMessage, mail: list[StoredMail], last_id: int) -> Outcome:
        """Gathers one message for the transaction, unless it, or the same request, is there already."""
        if command.id <= last_id:
            written = self._written(command.id)
            if written is not None:
                return written
        try:
            one = self._mail_at(command)
        except LookupError:
            return CommandRefused(command.id, Reason.STORAGE_FAILED, _LOST, RETRY_AFTER_LOSS_MS)
        repeated = self._repeated(command, one.draft, mail)
        if repeated is not None:
            return repeated
        if command.refusal is not None:
            return command.refusal
        if command.id <= last_id:  # its transaction failed, later ones did not: an id is used for one commit only
            return CommandRefused(command.id, Reason.STORAGE_FAILED, _NOT_STORED, RETRY_AFTER_LOSS_MS)
        self._keys.remember(command, one.draft)
        mail.append(one)
        return MessageWritten(command.id, DeliveryState.FILED, is_for_team=one.is_for_team)

    def _written(self, number: int) -> MessageWritten | None:
        """Returns the outcome of a message that was committed before; None if it was not.

        For a command that is heard again after a restart. Its mailbox's counts go with the next commit's outcomes:
        those of the first commit may have been lost together with its own.
        """
        row = self._connection.execute(
            "SELECT state, file_error, team_error, recipient FROM messages WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        state, file_error, team_error, recipient = row
        self._counters.tell(recipient)
        return MessageWritten(number, state, file_error, is_for_team=bool(team_error))

    def recognised(self, command: OrderedCommand) -> Outcome | None:
        """Returns the outcome of a send that was committed before, by its id or its key; None if it was not."""
        if not isinstance(command, WriteMessage):
            return None
        written = self._written(command.id)
        if written is not None:
            return written
        try:
            return self._repeated(command, self._mail_at(command).draft, [])
        except LookupError:
            return None

    def _repeated(self, command: WriteMessage, draft: Draft, mail: list[StoredMail]) -> Outcome | None:
        """Returns the outcome of a request that was committed before under this key, None if there was none."""
        try:
            first = self._keys.first_id(command, draft)
        except KeyReused as error:
            return CommandRefused(command.id, Reason.IDEMPOTENCY_KEY_REUSED, str(error), 0, "idempotency_key")
        return self._message_repeated(command.id, first, draft.recipient, mail) if first else None

    def _message_repeated(self, number: int, original: int, mailbox: str, mail: list[StoredMail]) -> Outcome:
        row = self._connection.execute(
            "SELECT timestamp_ms, state, file_error, team_error, CASE recipient WHEN ? THEN '' ELSE recipient END"
            " FROM messages WHERE id = ?",
            (mailbox, original),
        ).fetchone()
        if row is not None:
            return MessageRepeated(number, original, *row)
        for one in mail:
            if one.id == original:  # of this very transaction
                team_error = TEAM_PENDING if one.is_for_team else ""
                where = "" if one.draft.recipient == mailbox else one.draft.recipient
                return MessageRepeated(number, original, one.timestamp_ms, DeliveryState.FILED, "", team_error, where)
        return MessageRepeated(number, original, milliseconds_of(original), DeliveryState.READ, "")  # read, and gone

    def _insert(self, mail: list[StoredMail], inserted: int, now_ms: int) -> int:
        """Inserts the messages that were gathered and are not inserted yet; returns how many are, then."""
        new = mail[inserted:]
        if new:
            rows = [
                row_of(one.id, one.timestamp_ms, one.draft, now_ms, TEAM_PENDING if one.is_for_team else "")
                for one in new
            ]
            self._connection.executemany(INSERT_MESSAGE, rows)
            for one in new:
                self._counters.add(one.draft.recipient, one.id)
        return len(mail)

    # -- what a mailbox that outlived this process's predecessor may not have heard --------------------------------

    def changed_since(self, since_ms: int) -> list[Outcome]:
        """Returns the outcomes of what happened since a moment without an order, and how those mailboxes stand.

        It looks at every row: for a worker that restarts, not for a send.
        """
        rows: list[tuple[int, str, int]] = self._connection.execute(
            "SELECT id, recipient, state FROM messages WHERE read_ms >= ? OR (filed_ms >= ? AND state IN (2, 3))"
            " ORDER BY recipient, id",
            (since_ms, since_ms),
        ).fetchall()
        outcomes: list[Outcome] = []
        for mailbox, changed in groupby(rows, itemgetter(1)):
            states = {number: state for number, _, state in changed}
            outcomes += [MessageFiled(number) for number, state in states.items() if state < DeliveryState.READ]
            outcomes.append(MessagesTaken(mailbox, [one for one, state in states.items() if state == 4]))
            outcomes.append(MessagesExpired([one for one, state in states.items() if state == 5]))
            outcomes.append(self._counters.tell(mailbox))
        return outcomes + [ResponseWritten(*row) for row in self._responses.newest_since(since_ms)]

    def counted(self, mailbox: str) -> MailboxCounted:
        """Returns how a mailbox stands."""
        return self._counters.tell(mailbox)

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def delete_ended(self, before_ms: int, limit: int, now_ms: int) -> tuple[list[tuple[str, int]], list[Outcome]]:
        """Deletes a slice of what is over since before a moment; returns (mailbox, id) of it, and the outcomes."""
        with self._counting(self.transactions.lazy()):
            deleted = self._retention.remove_ended(before_ms, limit, now_ms)
            counted = self._counters.settle()
        return deleted, [MessagesRemoved([number for _, number in deleted]), *counted] if deleted else []

    def forget_old(self, now_ms: int) -> bool:
        """Forgets a slice of old keys, receipts and responses; returns whether more are left."""
        with self.transactions.lazy():
            parts = (self._keys, self._receipts, self._responses)
            is_left = [one.forget_old(now_ms) for one in parts]
            self._aliases.forget_expired(now_ms)
        return any(is_left)

    def forget_agents(self, before_ms: int, limit: int) -> bool:
        """Forgets a slice of the empty mailboxes of agents long gone; returns whether more are left."""
        with self._counting(self.transactions.lazy()):
            is_left = self._retention.forget_agents(before_ms, limit) == limit
            self._counters.forget()
        return is_left

    def expired(self, now_ms: int, limit: int) -> list[int]:
        """Returns ids of unread messages whose time to live has run out, at most so many."""
        return self._retention.expired(now_ms, limit)

    def next_expiry_ms(self) -> int | None:
        """Returns when the next unread message's time to live runs out, milliseconds since 1970; None if none will."""
        return self._retention.next_expiry_ms()

    @contextmanager
    def _counting(self, transaction: AbstractContextManager[None]) -> Generator[None, None, None]:
        """Is a transaction in which mailboxes are counted: the counters are forgotten where it is rolled back."""
        try:
            with transaction:
                yield
        except BaseException:
            self._counters.forget()
            raise

    def index_more(self) -> int:
        """Puts a slice of messages into the full-text index; returns how many, 0 when all are there."""
        with self.transactions.lazy():
            through, count = self.search.fill()
        self.search.note_filled(through)
        return count
