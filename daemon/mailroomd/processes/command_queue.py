"""CommandQueue — the worker that makes messages durable and files them.

Owns the order commit → files → outcomes, the store's condition (full or not), and the timers of housekeeping.
It is the one writer of the database and of the inbox files. Not here: SQL (`MessageStore`), files (`Filing`).
Above: the mailbox, by `writes` and `outcomes`. Invariant: an outcome is sent only after what it says is fsynced.
"""

__all__ = ["main"]

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from mailroomd.core.log import log
from mailroomd.ipc.link import Link
from mailroomd.ipc.packets import Hello
from mailroomd.ipc.readiness import Readiness
from mailroomd.model.commands import (
    Command,
    CommandRefused,
    MessageFiled,
    MessageRepeated,
    MessageWritten,
    Outcome,
    StoreConditionChanged,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.model.errors import Reason
from mailroomd.model.message import unpack_draft
from mailroomd.model.states import DeliveryState
from mailroomd.processes.config import CommandQueueConfig
from mailroomd.processes.housekeeping import Housekeeping
from mailroomd.processes.worker import CannotStart, WorkerSeat
from mailroomd.storage.database import DatabaseTooNew, note_lost_write
from mailroomd.storage.filing import Filing
from mailroomd.storage.inbox_files import InboxFiles
from mailroomd.storage.message_store import Committed, MessageStore, StoredMail, StoreFailed, StoreFull
from mailroomd.storage.recovery import recover_files
from mailroomd.storage.reserve import Reserve
from mailroomd.storage.table_layout import TableLayout
from mailroomd.storage.table_reader import NotInTable, TableReader

BATCH_COMMANDS = 1000  # in one transaction: some 15 ms of work, well below any heartbeat
BATCH_BYTES = 4 << 20  # likewise: a slow disk writes them, twice, within one
BACKLOG_OUTCOMES = 5000  # beyond it `writes` is not read: the mailbox has to catch up first
UNHEARD_MS = 60_000  # how far back a restarted command-queue repeats what nobody had ordered
RETRY_AFTER_FULL_MS = 5000  # what senders are told when the disk is full
RETRY_AFTER_FAILURE_MS = 1000
FULL_SENTENCE = "the disk that holds the database is full: make room, sending works again by itself"
FULL = (Reason.STORAGE_FULL, FULL_SENTENCE, RETRY_AFTER_FULL_MS)


def main(seat: WorkerSeat, config: CommandQueueConfig) -> None:
    """Runs the command-queue until it is told to stop."""
    CommandQueue(seat, config).run()


class CommandQueue:
    """The command-queue's loop: take what has gathered, commit, file, report."""

    def __init__(self, seat: WorkerSeat, config: CommandQueueConfig) -> None:
        self._seat = seat
        layout = TableLayout.for_ring(seat.settings.table_bytes, seat.settings.table_mailboxes)
        self._table = TableReader(config.table.buffer, layout)
        self._reserve = Reserve(seat.settings.state_dir)
        self._files = _open_files(seat)
        self._reserve.release_if_tight()
        self._store = _open_store(seat, self._mail_at)
        self._filing = Filing(self._files, seat.beat)
        self._link: Link[Command, Outcome] = Link(seat.epoch, config.writes, config.outcomes, self._unanswered)
        self._is_full = False
        self._unasked: list[Outcome] = []
        self._filed_late: list[int] = []  # files that are there at last, while the database has no room to say so
        self._housekeeping = Housekeeping(seat.settings.state_dir, self._store, self._files)
        self._writes, self._outcomes = config.writes, config.outcomes

    def run(self) -> None:
        """Recovers, then works until STOP."""
        self._recover()
        self._link.greet()
        self._seat.ready()
        readiness = Readiness()
        readiness.watch_reading(self._seat.leash_fileno())
        is_stopping = False
        while not is_stopping:
            self._seat.beat()
            self._link.flush()
            if self._link.backlog < BACKLOG_OUTCOMES:
                self._take_commands()
            pause = self._work_off()
            readiness.watch_reading(self._writes.reader_fileno(), self._link.backlog < BACKLOG_OUTCOMES)
            readiness.watch_writing(self._outcomes.writer_fileno(), self._link.backlog > 0)
            if self._seat.leash_fileno() in readiness.wait(pause):
                is_stopping = self._seat.stop_requested()
        self._stop()

    # -- the way of a message -------------------------------------------------------------------------------------

    def _take_commands(self) -> bool:
        """Carries out what has gathered; returns whether there was anything."""
        gathered: list[Command] = []
        heard = self._link.receive()
        if self._unasked and self._link.is_hearing:  # before any commit: its counts are newer than these
            self._report(self._unasked)
            self._unasked = []
        for item in heard:
            if isinstance(item, Hello):
                self._carry_out(gathered)
                gathered = []
                self._link.welcome(item)
            else:
                gathered.append(item)
        self._carry_out(gathered)
        return bool(heard)

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for batch in _batches(commands):
            durable = [one for one in batch if isinstance(one, WriteMessage | WriteRead)]
            self._housekeeping.gather(one for one in batch if isinstance(one, WriteOffered | WriteSeen))
            if durable:
                self._commit(durable)
            self._seat.beat()

    def _commit(self, commands: list[WriteMessage | WriteRead]) -> None:
        refused: list[Outcome] = []
        if self._is_full:
            refused = self._refuse([one for one in commands if isinstance(one, WriteMessage)], *FULL)
            commands = [one for one in commands if isinstance(one, WriteRead)]
        try:
            done = self._store.commit([*self._housekeeping.lazy, *commands], _now_ms())
            self._housekeeping.lazy.clear()
        except StoreFull:
            if not self._is_full:
                self._become_full()
                return self._commit(commands)  # once more, without the messages, in the room that the reserve gave
            done = Committed(self._refuse(commands, *FULL))
        except StoreFailed as error:
            self._exit_if_lost(error)
            sentence = f"the database could not be written ({error}): nothing was stored, try again"
            done = Committed(self._refuse(commands, Reason.STORAGE_FAILED, sentence, RETRY_AFTER_FAILURE_MS))
        self._seat.beat()
        self._file(done)
        self._report([*refused, *done.outcomes])
        return None

    def _file(self, done: Committed) -> None:
        errors = self._filing.file(done.mail, time.monotonic())
        for mailbox, message_ids in done.read:
            self._filing.take_away(mailbox, message_ids)
        if errors:
            number, sentence = next(iter(errors.items()))
            log.warning("inbox file not written", message_id=f"{number:016x}", files=len(errors), error=sentence)
            self._note_unfiled(errors)
            done.outcomes = [_with_error(one, errors) for one in done.outcomes]
        if done.mail:
            self._housekeeping.note_filed(done.mail[-1].id)

    def _note_unfiled(self, errors: dict[int, str]) -> None:
        """Notes why files are missing; what can't be noted now, the store notes before anything counts as synced."""
        try:
            self._store.note_unfiled(errors)
        except StoreFull:
            self._become_full()
        except StoreFailed as error:
            self._exit_if_lost(error)

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._link.send(outcome)
        self._link.flush()

    def _unanswered(self) -> list[Outcome]:
        """What a mailbox that restarted has to hear: it reads all else from the database."""
        return [StoreConditionChanged(not self._is_full, FULL_SENTENCE if self._is_full else "")]

    def _mail_at(self, command: WriteMessage) -> StoredMail:
        """Returns the message that a command refers to, from the table.

        Raises:
            LookupError: the table has no such record.
        """
        try:
            record = self._table.record_at(command.position)
        except NotInTable as error:
            raise LookupError(command.id) from error
        if record.id != command.id:
            raise LookupError(command.id)
        return StoredMail(record.id, record.timestamp_ms, unpack_draft(record.body))

    # -- when the store fails -------------------------------------------------------------------------------------

    def _become_full(self) -> None:
        self._reserve.release()
        if not self._is_full:
            self._is_full = True
            log.error("disk full", sentence=FULL_SENTENCE)
            self._link.send(StoreConditionChanged(writable=False, sentence=FULL_SENTENCE))

    def _become_writable(self) -> None:
        self._is_full = False
        log.info("disk has room again")
        self._report([StoreConditionChanged(writable=True)])

    def _refuse(
        self, commands: Sequence[WriteMessage | WriteRead], reason: Reason, sentence: str, retry_after_ms: int
    ) -> list[Outcome]:
        """Refuses commands, except those that turn out to have been committed before."""
        return [
            self._store.recognised(one) or CommandRefused(one.id, reason, sentence, retry_after_ms) for one in commands
        ]

    def _exit_if_lost(self, error: StoreFailed) -> None:
        """Ends the process if an fsync failed: the kernel may have dropped what was written, so see what is there."""
        log.error("database not written", error=str(error), fatal=error.fatal)
        if error.fatal:
            note_lost_write(self._seat.settings.state_dir)
            os._exit(os.EX_IOERR)

    # -- between commits ------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        self._adopt_root()
        report = recover_files(self._store, self._files, _now_ms(), self._seat.beat)
        now = time.monotonic()
        for mailbox, number in self._store.unfiled():
            self._filing.keep_trying(mailbox, number, now)
        for number in report.errors:  # of which the database may not know yet
            message = self._store.message(number)
            if message is not None:
                self._filing.keep_trying(message.draft.recipient, number, now)
        self._is_full = not self._reserve.refill()
        if self._is_full:
            log.error("disk full", sentence=FULL_SENTENCE)
        # A mailbox that outlived this worker's predecessor still believes what that one said of the disk, and may not
        # have heard of its last transactions that nobody had ordered.
        late = self._store.changed_since(_now_ms() - UNHEARD_MS) if self._seat.epoch > 1 else []
        self._unasked = [*report.outcomes, *late, *self._unanswered()]
        if report.rewritten or report.taken or report.removed or report.errors:
            log.info(
                "inbox files recovered",
                checked=report.checked,
                rewritten=report.rewritten,
                taken=report.taken,
                removed=report.removed,
                failed=len(report.errors),
            )

    def _adopt_root(self) -> None:
        root = self._seat.settings.root
        try:
            if self._store.adopt_root(root):
                log.warning("another root than last time: every inbox file is written again", root=str(root))
        except StoreFull as error:
            raise CannotStart(f"{FULL_SENTENCE} (the first start needs some)", os.EX_CANTCREAT) from error

    def _work_off(self) -> float:
        """Does what is due beside the commits; returns for how many seconds nothing will be."""
        now = time.monotonic()
        try:
            pause = self._housekeeping.run(now, _now_ms())
            due = self._filing.next_retry_sec
            if self._filed_late or (due is not None and due <= now):
                self._retry_files(now)
                due = self._filing.next_retry_sec
        except StoreFull:
            self._become_full()
            pause, due = 1.0, None
        except StoreFailed as error:
            self._exit_if_lost(error)
            pause, due = 1.0, None
        if self._is_full and self._housekeeping.is_time_to_look_for_room(now) and self._reserve.refill():
            self._become_writable()
        wait = self._seat.beat_interval_sec if due is None else min(self._seat.beat_interval_sec, max(0.0, due - now))
        return min(wait, pause)

    def _retry_files(self, now: float) -> None:
        self._filed_late += self._filing.retry(self._store, now)
        if self._filed_late:
            self._store.note_filed(self._filed_late, _now_ms())
            filed, self._filed_late = self._filed_late, []
            log.info("inbox files written at last", files=len(filed), left=self._filing.unfiled)
            self._report([MessageFiled(number) for number in filed])

    def _stop(self) -> None:
        while self._take_commands():
            pass
        try:
            self._housekeeping.finish(_now_ms())
        except (StoreFull, StoreFailed) as error:  # the next start checks the files instead
            log.warning("stopped with a full disk", error=str(error))
        self._link.flush()
        self._store.close()
        self._files.close()


def _open_files(seat: WorkerSeat) -> InboxFiles:
    root = seat.settings.root
    try:
        files = InboxFiles(root)
        (root / "outbox").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"{error.filename or root} cannot be used: {error.strerror} (links are not followed). "
            "Give a --root that the daemon may write to.",
            os.EX_CANTCREAT,
        ) from error
    return files


def _open_store(seat: WorkerSeat, mail_at: Callable[[WriteMessage], StoredMail]) -> MessageStore:
    state_dir = seat.settings.state_dir
    try:
        return MessageStore(state_dir, mail_at)
    except DatabaseTooNew as error:
        raise CannotStart(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise CannotStart(
            f"{state_dir}/mailroom.db cannot be opened: {error}. Check the disk and the permissions of the directory.",
            os.EX_CANTCREAT,
        ) from error


def _batches(commands: Sequence[Command]) -> Iterator[list[Command]]:
    """Yields what is committed together."""
    batch: list[Command] = []
    size = 0
    for one in commands:
        batch.append(one)
        size += one.size_bytes if isinstance(one, WriteMessage) else 0
        if len(batch) == BATCH_COMMANDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _with_error(outcome: Outcome, errors: dict[int, str]) -> Outcome:
    if isinstance(outcome, MessageWritten) and outcome.id in errors:
        return MessageWritten(outcome.id, DeliveryState.STORED, errors[outcome.id])
    if isinstance(outcome, MessageRepeated) and outcome.original_id in errors:  # the first one is of the same batch
        error = errors[outcome.original_id]
        return msgspec.structs.replace(outcome, state=DeliveryState.STORED, file_error=error)
    return outcome


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
