"""MessageStore — the one writer of the database: commits what has gathered in one transaction.

Owns transactions, the outcome of each command, and the marks `last_id` and `synced_id`.
Not here: keys (`RequestKeys`), counters (`MailboxCounters`), inbox files (`InboxFiles`), when to commit. Above: the
command-queue.
Invariant: a transaction is whole or absent, its messages are in id order, and `last_id` is at least their highest id.
"""

__all__ = ["Committed", "MessageStore", "StoreFailed", "StoreFull", "StoredMail"]

import hashlib
import os
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mailroomd.model.commands import (
    Command,
    CommandRefused,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesTaken,
    MessageWritten,
    Outcome,
    ReadWritten,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.model.errors import Reason
from mailroomd.model.ids import milliseconds_of
from mailroomd.model.message import Draft, Message
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database import (
    LogInUse,
    forget_lost_write,
    is_full,
    is_lost_write,
    lost_write_was_noted,
    open_store,
    set_lazy,
    settle_log,
)
from mailroomd.storage.mailbox_counters import MailboxCounters
from mailroomd.storage.request_keys import KeyReused, RequestKeys
from mailroomd.storage.rows import INSERT_MESSAGE, MESSAGE_COLUMNS, message_of, row_of

COMMIT_LOG_BYTES = 10 * 4096  # that a transaction adds to the log, about: the pages that every one touches
ROW_LOG_BYTES = 1000  # and each message beside its content
RETRY_AFTER_LOSS_MS = 100  # the sender's next try gets an id of its own, so it need not wait
_LOST = "the message was lost on its way: send it again"
_NOT_STORED = "the message could not be stored: send it again"


class StoreFull(Exception):  # noqa: N818 - named for what was found
    """The disk is full: the transaction is rolled back, nothing of it was written."""


class StoreFailed(Exception):  # noqa: N818 - named for what was found
    """The transaction is rolled back for another reason; `fatal` where the database can't be believed any more."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.fatal = is_lost_write(cause)


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One message that a transaction made durable, and whose file is to be written."""

    id: int
    timestamp_ms: int
    draft: Draft


@dataclass(slots=True)
class Committed:
    """What one transaction did.

    Attributes:
        outcomes: how the touched mailboxes stand, then one for each command with an id, in their order. The counts come
            first so that whoever is told of a message never finds counts that don't know it.
        mail: the messages whose files are to be written, in id order.
        read: (mailbox, ids) whose files are to be taken away.
    """

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    mail: list[StoredMail] = field(default_factory=list[StoredMail])
    read: list[tuple[str, list[int]]] = field(default_factory=list[tuple[str, list[int]]])


class MessageStore:
    """Writes the database.

    Args:
        state_dir: where `mailroom.db` lies.
        mail_at: reads the message that a command refers to; raises LookupError if it is not there.

    Raises:
        DatabaseTooNew, sqlite3.Error: as in `open_store`.
    """

    def __init__(self, state_dir: Path, mail_at: Callable[[WriteMessage], StoredMail]) -> None:
        self._state_dir = state_dir
        self._connection = open_store(state_dir)
        self._mail_at = mail_at
        self._keys = RequestKeys(self._connection)
        self._counters = MailboxCounters(self._connection)
        self._notes: dict[int, tuple[str, int]] = {}
        self._is_settled = False
        try:
            self._settle_log()
        except (StoreFull, StoreFailed) as failure:
            if isinstance(failure, StoreFailed) and failure.fatal:
                self._connection.close()
                raise
            # else every transaction tries again, and mail can be read meanwhile
        self.unsettled_bytes = 0
        """About how much was written to the log; the checkpointer sets it back."""

    def close(self) -> None:
        """Folds the log into the database and closes it."""
        with suppress(sqlite3.Error):  # a backup reads, or there is no room: the next start does it
            settle_log(self._connection)
        self._connection.close()

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
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('root', ?)", (identity,))
            if known is not None:
                self._connection.execute("UPDATE meta SET value = 0 WHERE name = 'synced_id'")
        return known is not None

    # -- the group commit -----------------------------------------------------------------------------------------

    def commit(self, commands: Sequence[Command], now_ms: int) -> Committed:
        """Carries out commands, in order, in one durable transaction.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        done = Committed()
        with self._transaction():
            last_id = self.mark("last_id")
            for command in commands:
                self._carry_out(command, done, last_id, now_ms)
            self._insert(done.mail, now_ms)
            highest = max((one.id for one in commands if isinstance(one, WriteMessage | WriteRead)), default=0)
            if highest > last_id:
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_id'", (highest,))
            done.outcomes[:0] = self._counters.settle()
        self.unsettled_bytes += sum(len(one.draft.content) + ROW_LOG_BYTES for one in done.mail)
        return done

    def commit_lazily(self, commands: Sequence[WriteOffered | WriteSeen], synced_id: int, now_ms: int) -> None:
        """Writes what may be lost in a power cut, without an fsync.

        Args:
            synced_id: every file up to it is on the disk; 0 to leave the mark as it is.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        with self._lazily():
            for command in commands:
                self._carry_out(command, Committed(), 0, now_ms)
            if synced_id:
                self._write_notes()  # or a file that is known to be missing would count as taken by its agent
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'synced_id'", (synced_id,))
        if synced_id:
            self._notes.clear()

    def _carry_out(self, command: Command, done: Committed, last_id: int, now_ms: int) -> None:
        if isinstance(command, WriteMessage):
            done.outcomes.append(self._write_message(command, done.mail, last_id))
        elif isinstance(command, WriteRead):
            outcome = self._write_read(command, now_ms)
            done.outcomes.append(outcome)
            done.read.append((command.agent, outcome.acknowledged))
        elif isinstance(command, WriteOffered):
            self._connection.executemany(
                "UPDATE messages SET state = 3, offered_ms = ? WHERE id = ? AND recipient = ? AND state < 3",
                [(command.offered_ms, number, command.agent) for number in command.message_ids],
            )
        else:
            self._connection.execute(
                "INSERT INTO mailboxes (name, last_seen_ms) VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
                (command.agent, command.seen_ms),
            )

    def _write_message(self, command: WriteMessage, mail: list[StoredMail], last_id: int) -> Outcome:
        """Gathers one message for the transaction, unless it, or the same request, is there already."""
        if command.id <= last_id:
            written = self.written(command.id)
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
        return MessageWritten(command.id, DeliveryState.FILED)

    def written(self, number: int) -> MessageWritten | None:
        """Returns the outcome of a message that was committed before; None if it was not.

        For a command that is heard again after a restart. Its mailbox's counts go with the next commit's outcomes:
        those of the first commit may have been lost together with its own.
        """
        row = self._connection.execute(
            "SELECT state, file_error, recipient FROM messages WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        self._counters.tell(row[2])
        return MessageWritten(number, row[0], row[1])

    def recognised(self, command: WriteMessage | WriteRead) -> Outcome | None:
        """Returns the outcome of a command that was committed before, by its id or its key; None if it was not."""
        written = self.written(command.id)
        if written is not None or isinstance(command, WriteRead):
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
        return self._message_repeated(command.id, first, mail) if first else None

    def _message_repeated(self, number: int, original: int, mail: list[StoredMail]) -> Outcome:
        row = self._connection.execute(
            "SELECT timestamp_ms, state, file_error FROM messages WHERE id = ?", (original,)
        ).fetchone()
        if row is not None:
            return MessageRepeated(number, original, row[0], row[1], row[2])
        for one in mail:
            if one.id == original:  # of this very transaction
                return MessageRepeated(number, original, one.timestamp_ms, DeliveryState.FILED, "")
        return MessageRepeated(number, original, milliseconds_of(original), DeliveryState.READ, "")  # read, and gone

    def _insert(self, mail: list[StoredMail], now_ms: int) -> None:
        if not mail:
            return
        rows = [row_of(one.id, one.timestamp_ms, one.draft, now_ms) for one in mail]
        self._connection.executemany(INSERT_MESSAGE, rows)
        for one in mail:
            self._counters.add(one.draft.recipient, one.id)

    def _write_read(self, command: WriteRead, now_ms: int) -> ReadWritten:
        acknowledged = self.mark_read(command.agent, command.message_ids, now_ms)
        known = set(acknowledged)
        return ReadWritten(
            command.id, command.agent, acknowledged, [number for number in command.message_ids if number not in known]
        )

    def mark_read(self, mailbox: str, message_ids: Sequence[int], now_ms: int) -> list[int]:
        """Marks messages read within the open transaction; returns those in this mailbox, read before or now."""
        known: list[int] = []
        newly = 0
        for number in message_ids:
            row = self._connection.execute(
                "SELECT state FROM messages WHERE id = ? AND recipient = ?", (number, mailbox)
            ).fetchone()
            if row is None:
                continue
            known.append(number)
            if row[0] < DeliveryState.READ:
                newly += 1
                self._connection.execute(
                    "UPDATE messages SET state = 4, read_ms = ?, file_error = '' WHERE id = ?", (now_ms, number)
                )
        if known:  # also where nothing is new: the command may be heard again because its outcomes were lost
            self._counters.take_off_unread(mailbox, newly)
        return known

    # -- what the files tell --------------------------------------------------------------------------------------

    def take(self, mailbox: str, message_ids: Sequence[int], now_ms: int) -> list[MailboxCounted]:
        """Commits that an agent took the files of these messages away, which is reading them."""
        with self._transaction():
            self.mark_read(mailbox, message_ids, now_ms)
            return self._counters.settle()

    def note_unfiled(self, errors: Mapping[int, str]) -> None:
        """Commits why files could not be written, by message id.

        What can't be committed now is committed with the next note, at the latest with the next `synced_id`.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        self._note({number: (error, 0) for number, error in errors.items()})

    def note_filed(self, message_ids: Sequence[int], now_ms: int) -> None:
        """Commits that files are there now; raises, and makes up for it, as `note_unfiled` does."""
        self._note(dict.fromkeys(message_ids, ("", now_ms)))

    def _note(self, notes: Mapping[int, tuple[str, int]]) -> None:
        self._notes.update(notes)
        with self._transaction():
            self._write_notes()
        self._notes.clear()

    def _write_notes(self) -> None:
        self._connection.executemany(
            "UPDATE messages SET file_error = ?, filed_ms = ?, state = CASE state WHEN 2 THEN 1 ELSE state END"
            " WHERE id = ? AND state < 4",
            [(error, filed_ms, number) for number, (error, filed_ms) in self._notes.items() if error],
        )
        self._connection.executemany(
            "UPDATE messages SET file_error = '', filed_ms = ?, state = max(state, 2) WHERE id = ? AND state < 4",
            [(filed_ms, number) for number, (error, filed_ms) in self._notes.items() if not error],
        )

    def message(self, number: int) -> Message | None:
        """Returns one message, None if it is gone."""
        row = self._connection.execute(f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE id = ?", (number,)).fetchone()  # noqa: S608
        return message_of(row) if row else None

    def unfiled(self) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of the unread messages whose files could not be written."""
        return self._connection.execute(
            "SELECT recipient, id FROM messages WHERE file_error <> '' AND state < 4"
        ).fetchall()

    def changed_since(self, since_ms: int) -> list[MessagesTaken | MessageFiled | MailboxCounted]:
        """Returns the outcomes of what was read or filed since a moment, and how those mailboxes stand.

        It looks at every row: for a worker that restarts, not for a send.
        """
        rows: list[tuple[int, str, int]] = self._connection.execute(
            "SELECT id, recipient, state FROM messages WHERE read_ms >= ?1 OR (filed_ms >= ?1 AND state IN (2, 3))"
            " ORDER BY recipient, id",
            (since_ms,),
        ).fetchall()
        outcomes: list[MessagesTaken | MessageFiled | MailboxCounted] = []
        for mailbox, changed in groupby(rows, itemgetter(1)):
            states = {number: state for number, _, state in changed}
            read = [number for number, state in states.items() if state == DeliveryState.READ]
            outcomes += [MessageFiled(number) for number, state in states.items() if state < DeliveryState.READ]
            outcomes += [MessagesTaken(mailbox, read)] if read else []
            outcomes.append(self._counters.tell(mailbox))
        return outcomes

    def filed_after(self, mailbox: str, number: int, limit: int) -> list[tuple[str, int]]:
        """Returns (mailbox, id) of unread messages that should have a file, in that order, from behind such a pair."""
        return self._connection.execute(
            "SELECT recipient, id FROM messages WHERE state < 4 AND file_error = '' AND (recipient, id) > (?, ?)"
            " ORDER BY recipient, id LIMIT ?",
            (mailbox, number, limit),
        ).fetchall()

    def is_read(self, number: int, mailbox: str) -> bool:
        """Returns whether a message of this mailbox is read or expired; False too where there is no such message."""
        row = self._connection.execute(
            "SELECT state FROM messages WHERE id = ? AND recipient = ?", (number, mailbox)
        ).fetchone()
        return row is not None and row[0] >= DeliveryState.READ

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def forget_old_keys(self, now_ms: int) -> bool:
        """Forgets a slice of the keys that are past their time; returns whether more are left."""
        with self._lazily():
            return self._keys.forget_old(now_ms)

    def settle_rest_of_log(self) -> None:
        """Finishes a checkpoint between two commits, so that the log starts from its beginning again."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # -- transactions ---------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        self._settle_log()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._counters.forget()
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise self._failure(error) from error
            raise
        self.unsettled_bytes += COMMIT_LOG_BYTES

    def _settle_log(self) -> None:
        """Settles what a crash left in the log, before anything is written behind it.

        A reader may be in the way: that is waited for after a failed fsync only, when the log itself is in doubt.

        Raises:
            StoreFull, StoreFailed: it is not settled.
        """
        if self._is_settled:
            return
        try:
            settle_log(self._connection)
        except LogInUse as error:
            if lost_write_was_noted(self._state_dir):
                raise StoreFailed(error) from error
        except sqlite3.Error as error:
            raise self._failure(error) from error
        else:
            forget_lost_write(self._state_dir)
        self._is_settled = True

    def _failure(self, error: sqlite3.Error) -> StoreFull | StoreFailed:
        return StoreFull(str(error)) if is_full(error, self._state_dir) else StoreFailed(error)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _lazily(self) -> Generator[None, None, None]:
        set_lazy(self._connection, lazy=True)
        try:
            with self._transaction():
                yield
        finally:
            set_lazy(self._connection, lazy=False)
