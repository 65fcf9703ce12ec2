"""MessageStore — the only writer of the database: commits a batch of commands in one transaction.

Owns the transaction, the outcome of each command, and the marks `last_id` and `synced_id`.
Not here: new messages (`NewMessages`), later changes of their state (`MessageSteps`), what is known of the files
(`FileLedger`), deleting (`Retention`), inbox files, when to commit. Above: the command-queue.
Invariant: a transaction is whole or absent, its messages are in id order, and `last_id` is at least their highest id.
"""

__all__ = ["CommitResult", "MessageStore", "NewMail", "SequencedEvent", "SequencedWrite", "StoredMail", "Write"]

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mailroomd.model.limits import MAX_FORWARD_BYTES
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import (
    EntriesTaken,
    FilesTaken,
    LocalEvent,
    MailExpired,
    MailFiled,
    MailOverdue,
    ResponseLeft,
    TeamEnded,
)
from mailroomd.protocol.operations import (
    Acknowledge,
    Acknowledged,
    Clear,
    Confirm,
    Done,
    GiveUp,
    Intend,
    MarkOffered,
    RecordReceipts,
    Result,
    Return,
    Send,
    SetAlias,
)
from mailroomd.protocol.packets import Command, ForgetAgent, LazyCommand, NoteSeen, Outcome
from mailroomd.protocol.reports import MailboxCounted, Report, ResponseStored, StatesAdvanced
from mailroomd.storage.database.alias_rows import AliasRows
from mailroomd.storage.database.arrivals import Arrivals
from mailroomd.storage.database.damaged_rows import is_unread
from mailroomd.storage.database.file_ledger import FileLedger
from mailroomd.storage.database.forward_operations import ForwardOperations
from mailroomd.storage.database.forward_queue import ForwardQueue
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.message_steps import MessageSteps
from mailroomd.storage.database.new_messages import NewMail, NewMessages, StoredMail
from mailroomd.storage.database.receipts import ReceiptRows
from mailroomd.storage.database.reply_deadlines import ReplyDeadlines
from mailroomd.storage.database.request_keys import RequestKeys
from mailroomd.storage.database.responses import ResponseRows
from mailroomd.storage.database.retention import Retention
from mailroomd.storage.database.search_index import SearchIndex
from mailroomd.storage.database.state_conditions import FILED, OFFERED
from mailroomd.storage.database.transactions import Transactions

ROW_LOG_BYTES = 1000  # that each message adds to the log besides its content, about


@dataclass(frozen=True, slots=True)
class SequencedEvent:
    """A local event with its sequence ids.

    Attributes:
        id: the first of its ids.
        last_id: the last of its ids.
        event: None if the request for these ids is unknown; then they are void.
        agent: the mailbox that receives a response.
    """

    id: int
    last_id: int
    event: LocalEvent | None
    agent: str = ""


SequencedWrite = NewMail | Command | SequencedEvent
Write = SequencedWrite | LazyCommand


@dataclass(slots=True)
class CommitResult:
    """What one transaction did.

    Attributes:
        outcomes: the counts of the touched mailboxes, then one outcome for each command with an id, in their order,
            and the reports of local events. Counts come first, so that nobody is notified of a message that the counts
            do not include.
        mail: the messages whose files are to be written, in id order.
        removed: (mailbox, ids) whose files are to be removed.
        overdue: how many senders are told that no answer came in time.
    """

    outcomes: list[Outcome | Report] = field(default_factory=list[Outcome | Report])
    mail: list[StoredMail] = field(default_factory=list[StoredMail])
    removed: list[tuple[str, list[int]]] = field(default_factory=list[tuple[str, list[int]]])
    overdue: int = 0


class MessageStore:
    """Writes the database.

    Args:
        state_dir: where `mailroom.db` is.
        beat: called while an old database is upgraded, for the heartbeat.
        max_forward_bytes: returns how much may wait for one other host.

    Attributes:
        files: what is known of the inbox files.
        search: the full-text index.
        transactions: for writes that are not made here.

    Raises:
        DatabaseTooNew, ForeignObject, sqlite3.Error, StoreFailed: as in `Transactions`.
    """

    def __init__(
        self,
        state_dir: Path,
        beat: Callable[[], None] = lambda: None,
        max_forward_bytes: Callable[[], int] = lambda: MAX_FORWARD_BYTES,
    ) -> None:
        self.transactions = Transactions(state_dir, beat)
        self._connection = self.transactions.connection
        self._keys = RequestKeys(self._connection)
        self._counters = MailboxCounters(self._connection)
        self._forward_queue = ForwardQueue(self._connection)
        self._receipts = ReceiptRows(self._connection, self._forward_queue)
        self._responses = ResponseRows(self._connection)
        self._aliases = AliasRows(self._connection)
        self._deadlines = ReplyDeadlines(self._connection, self._receipts)
        self._arrivals = Arrivals(self._connection, self._counters, self._receipts)
        self._messages = NewMessages(
            self._connection,
            self._keys,
            self._counters,
            self._deadlines,
            self._forward_queue,
            self._arrivals,
            max_forward_bytes,
        )
        self._steps = MessageSteps(
            self._connection, self._counters, self._receipts, self._responses, self._forward_queue
        )
        self._forwarding = ForwardOperations(self._forward_queue, self._messages, self._arrivals, self._steps)
        self.search = SearchIndex(self._connection)
        self.files = FileLedger(self.transactions)
        self._retention = Retention(self._connection, self._counters, self._receipts, self.search, self._forward_queue)

    def close(self) -> None:
        """Folds the log into the database and closes it."""
        self.transactions.close()

    def mark(self, name: str) -> int:
        """Returns the mark `last_id` or `synced_id`."""
        row: tuple[int] = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0]

    def adopt_root(self, root: Path) -> bool:
        """Records which root the inbox files are in; returns whether it was another one before.

        After a change nothing counts as synced: a file that is missing here was never here.
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

    def commit(self, writes: Sequence[Write], now_ms: int, *, lazily: bool = False) -> CommitResult:
        """Makes writes, in order, in one durable transaction.

        Args:
            lazily: skip the fsync, for writes that a power cut may undo.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        result = CommitResult()
        with self._counting(self.transactions.lazy() if lazily else self.transactions.durable()):
            last_id = self.mark("last_id")
            inserted = 0
            for write in writes:
                if not isinstance(write, NewMail):
                    inserted = self._messages.insert(result.mail, inserted, now_ms)
                self._apply(write, result, last_id, now_ms)
            self._messages.insert(result.mail, inserted, now_ms)
            highest = max((write.last_id for write in writes if not isinstance(write, LazyCommand)), default=0)
            if highest > last_id:
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (highest,))
            result.outcomes[:0] = self._counters.write_counts()
        self.transactions.unsettled_bytes += sum(len(message.draft.content) + ROW_LOG_BYTES for message in result.mail)
        return result

    def import_mail(self, mail: Sequence[StoredMail], now_ms: int) -> None:
        """Commits messages whose inbox files exist already, in id order, all above `last_id`.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        if mail:
            with self._counting(self.transactions.durable()):
                self._messages.insert(list(mail), 0, now_ms)
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (mail[-1].id + 1,))
                self._counters.write_counts()

    def recognize(self, command: Command) -> Result | None:
        """Returns the result of a send that was committed before, by its id or its key; None if it was not."""
        return self._messages.recognize(command, command.op) if isinstance(command.op, Send) else None

    def record_synced(self, synced_id: int) -> None:
        """Records that every file up to an id is on the disk, without an fsync of its own."""
        with self.transactions.lazy():
            self.files.write_queued()  # otherwise a file that is known to be missing would count as taken by its agent
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'synced_id'", (synced_id,))
        self.files.clear_queued()

    def _apply(self, write: Write, result: CommitResult, last_id: int, now_ms: int) -> None:
        match write:
            case NewMail(command):
                result.outcomes.append(Outcome(command.id, self._messages.write(write, result.mail, last_id, now_ms)))
            case Command():
                result.outcomes.append(self._carry_out(write, result, now_ms))
            case SequencedEvent():
                self._write_event(write, result, now_ms)
            case NoteSeen(agent, seen_ms):
                self._connection.execute(
                    "INSERT INTO mailboxes (name, last_seen_ms) VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
                    (agent, seen_ms),
                )
            case ForgetAgent(agent):
                self._connection.execute("DELETE FROM mailboxes WHERE name = ? AND total = 0", (agent,))

    def _carry_out(self, command: Command, result: CommitResult, now_ms: int) -> Outcome:
        """Carries out an operation on messages that are stored, or on aliases; returns the outcome."""
        match command.op:
            case Acknowledge(mailbox, message_ids, by):
                known, senders = self._steps.mark_read(command.id, mailbox, message_ids, now_ms, by)
                unknown = sorted(set(message_ids).difference(known))
                result.removed.append((mailbox, known))
                return Outcome(command.id, Acknowledged(known, unknown), list(senders))
            case MarkOffered(mailbox, message_ids, offered_ms):
                senders = self._steps.mark_offered(command.id, mailbox, message_ids, offered_ms)
                return Outcome(command.id, Done(), list(senders))
            case Clear(mailbox) as clear:
                cleared = self._retention.clear(clear, command.id, now_ms)
                result.removed.append((mailbox, cleared.message_ids))
                return Outcome(command.id, cleared)
            case SetAlias(session, agent, expires_ms):
                self._aliases.write(session, agent, expires_ms)
                return Outcome(command.id, Done())
            case Intend() | Confirm() | Return() | RecordReceipts() | GiveUp() as op:
                advanced, senders = self._forwarding.carry_out(op, command.id, now_ms)
                result.outcomes.extend(advanced)
                return Outcome(command.id, Done(), list(senders))
            case op:
                raise TypeError(f"the store cannot carry out {type(op).__name__} by itself")

    def _write_event(self, sequenced: SequencedEvent, result: CommitResult, now_ms: int) -> None:
        senders: dict[str, None] = {}
        match sequenced.event:
            case FilesTaken(mailbox, message_ids):
                known, senders = self._steps.mark_read(sequenced.id, mailbox, message_ids, now_ms)
                result.outcomes.append(StatesAdvanced(DeliveryState.READ, known))
            case EntriesTaken(mailbox, message_ids):
                senders = self._steps.mark_offered(sequenced.id, mailbox, message_ids, now_ms)
                result.outcomes.append(StatesAdvanced(DeliveryState.OFFERED, list(message_ids)))
            case TeamEnded(mailbox, message_ids):
                known, senders = self._steps.mark_read(sequenced.id, mailbox, message_ids, now_ms)
                result.outcomes.append(StatesAdvanced(DeliveryState.READ, known))
                result.removed.append((mailbox, known))
            case MailExpired(message_ids):
                expired, senders = self._steps.mark_expired(sequenced.id, message_ids, now_ms)
                expired_ids = [message_id for ids in expired.values() for message_id in ids]
                result.outcomes.append(StatesAdvanced(DeliveryState.EXPIRED, expired_ids))
                result.removed.extend(expired.items())
            case MailOverdue(message_ids):
                receipts = self._deadlines.report_overdue(sequenced.id, message_ids, now_ms)
                senders = dict.fromkeys(receipt.sender for receipt in receipts)
                result.overdue += len(receipts)
            case MailFiled(message_ids):
                senders = self._steps.mark_filed(sequenced.id, message_ids, now_ms)
                result.outcomes.append(StatesAdvanced(DeliveryState.FILED, list(message_ids)))
            case ResponseLeft() as response:
                if self._responses.insert(sequenced.id, sequenced.agent, response, now_ms):
                    result.outcomes.append(ResponseStored(sequenced.agent, sequenced.id))
            case None:  # committed before the command-queue restarted, perhaps without anybody's knowledge
                senders = self._receipts.senders_at(sequenced.id, sequenced.last_id)
        result.outcomes.append(Outcome(sequenced.id, Done(), list(senders)))

    # -- for a mailbox that outlived this process's predecessor ----------------------------------------------------

    def changed_since(self, since_ms: int) -> list[Report]:
        """Returns the reports of changes since a moment that no command asked for, and the counts of their mailboxes.

        It reads every row: for a worker that restarts, not for a send.
        """
        rows: list[tuple[int, str, int]] = self._connection.execute(
            "SELECT id, recipient, state FROM messages"  # noqa: S608 - own text
            f" WHERE read_ms >= ? OR (filed_ms >= ? AND state IN ({FILED}, {OFFERED})) ORDER BY recipient, id",
            (since_ms, since_ms),
        ).fetchall()
        reports: list[Report] = []
        for mailbox, changed in groupby(rows, itemgetter(1)):
            states = {message_id: state for message_id, _, state in changed}
            filed = [message_id for message_id, state in states.items() if is_unread(state)]
            reports.append(StatesAdvanced(DeliveryState.FILED, filed))
            for ended in (DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.RETURNED):
                ended_ids = [message_id for message_id, state in states.items() if state == ended]
                if ended_ids:
                    reports.append(StatesAdvanced(ended, ended_ids))
            reports.append(self._counters.counts_of(mailbox))
        return reports + [ResponseStored(*row) for row in self._responses.newest_since(since_ms)]

    def counted(self, mailbox: str) -> MailboxCounted:
        """Returns the counts of a mailbox."""
        return self._counters.counts_of(mailbox)

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def delete_ended(self, before_ms: int, limit: int, now_ms: int) -> tuple[list[tuple[str, int]], list[Report]]:
        """Deletes a slice of the messages that ended before a moment; returns (mailbox, id) of each, and reports."""
        with self._counting(self.transactions.lazy()):
            deleted = self._retention.delete_ended(before_ms, limit, now_ms)
            counts = self._counters.write_counts()
        if not deleted:
            return [], []
        voided = StatesAdvanced(DeliveryState.VOIDED, [message_id for _, message_id in deleted])
        return deleted, [voided, *counts]

    def forget_old(self, now_ms: int) -> bool:
        """Deletes a slice of old keys, receipts, responses and aliases; returns whether more are left."""
        with self.transactions.lazy():
            is_left = [
                self._keys.delete_old_keys(now_ms),
                self._receipts.delete_old_receipts(now_ms),
                self._responses.delete_old_responses(now_ms),
            ]
            self._aliases.delete_expired_aliases(now_ms)
            self._arrivals.forget_old_runs(now_ms)
        return any(is_left)

    def forget_agents(self, before_ms: int, limit: int) -> bool:
        """Deletes a slice of the empty mailboxes of agents last seen before a moment; returns whether more are left."""
        with self._counting(self.transactions.lazy()):
            is_left = self._retention.forget_agents(before_ms, limit) == limit
            self._counters.reset()
        return is_left

    def expired(self, now_ms: int, limit: int) -> list[int]:
        """Returns the ids of unread messages whose time to live has run out, up to a limit."""
        return self._retention.expired(now_ms, limit)

    def next_expiry_ms(self) -> int | None:
        """Returns when the next unread message expires, milliseconds since 1970; None if none will."""
        return self._retention.next_expiry_ms()

    def overdue(self, now_ms: int, limit: int) -> list[int]:
        """Returns the ids of messages whose answer is overdue and whose senders do not know it yet, up to a limit."""
        return self._deadlines.overdue(now_ms, limit)

    def next_deadline_ms(self) -> int | None:
        """Returns when the next answer is due, milliseconds since 1970; None if no sender waits for one."""
        return self._deadlines.next_ms()

    @contextmanager
    def _counting(self, transaction: AbstractContextManager[None]) -> Generator[None, None, None]:
        """Wraps a transaction in which mailboxes are counted: a rollback resets the counters."""
        try:
            with transaction:
                yield
        except BaseException:
            self._counters.reset()
            self._forward_queue.forget_counts()
            raise

    def index_more(self) -> int:
        """Adds a slice of messages to the full-text index; returns how many, 0 when it is complete."""
        with self.transactions.lazy():
            indexed_id, count = self.search.fill()
        self.search.on_filled(indexed_id)
        return count
