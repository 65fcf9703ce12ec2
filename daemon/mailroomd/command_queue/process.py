"""CommandQueue — the worker that makes messages durable and files them.

Owns the order commit → files → outcomes. What it finds by itself (`LocalEvents`) it
commits where the mailbox grants a place for it. It is the one writer of the database and of the inbox files.
Not here: SQL (`MessageStore`), files (`Filing`), timers (`Housekeeping`), whether there is room (`DiskGuard`).
Above: the mailbox, by `writes` and `outcomes`. Invariant: an outcome is sent only after what it says is fsynced.
"""

__all__ = ["main"]

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from mailroomd.command_queue.commit_observer import CommitObserver
from mailroomd.command_queue.disk_guard import FULL_SENTENCE, DiskGuard
from mailroomd.command_queue.gauges import CommandQueueGauges
from mailroomd.command_queue.housekeeping import Housekeeping
from mailroomd.command_queue.local_events import LocalEvents
from mailroomd.command_queue.table_audit import lost_deletions
from mailroomd.command_queue.team_dispatcher import STILL_TRYING, TeamInboxDispatcher
from mailroomd.command_queue.unknown_mail import dismiss_unknown_files, import_unknown_files
from mailroomd.ipc.link import Link
from mailroomd.ipc.readiness import Readiness
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import Reason
from mailroomd.model.ids import MAX_ID, IdSequence
from mailroomd.model.message import unpack_draft
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.protocol.commands import (
    Command,
    CommandRefused,
    IdsAllocated,
    LazyCommand,
    MailboxCleared,
    MessageRepeated,
    MessageWritten,
    OrderedCommand,
    Outcome,
    StepsWritten,
    TeamInboxSettled,
    WriteMessage,
    WriteOffered,
)
from mailroomd.protocol.packets import Hello
from mailroomd.storage.database.connection import DatabaseTooNew, is_damaged, note_lost_write
from mailroomd.storage.database.message_store import Committed, MessageStore, SequencedEvent, StoredMail
from mailroomd.storage.database.reserve import Reserve
from mailroomd.storage.database.restore import take_restored
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.storage.inbox.files import InboxFiles
from mailroomd.storage.inbox.filing import Filing
from mailroomd.storage.inbox.recovery import RecoveryReport, recover_files
from mailroomd.storage.outbox.outbox import Outbox
from mailroomd.storage.team_inbox.filing import TeamFiling
from mailroomd.storage.team_inbox.inboxes import TeamInboxes
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import NotInTable, TableReader
from mailroomd.worker.config import CommandQueueConfig
from mailroomd.worker.damage import telling_damage
from mailroomd.worker.runner import CannotStart, WorkerContext

BATCH_COMMANDS = 1000  # in one transaction: some 15 ms of work, well below any heartbeat
BATCH_BYTES = 4 << 20  # likewise: a slow disk writes them, twice, within one
BACKLOG_OUTCOMES = 5000  # beyond it `writes` is not read: the mailbox has to catch up first
UNHEARD_MS = 60_000  # how far back a restarted command-queue repeats what nobody had ordered
RETRY_AFTER_FAILURE_MS = 1000
RESUME_SLICE = 200  # team messages submitted again between two commits
Opened = TypeVar("Opened")


def main(context: WorkerContext, config: CommandQueueConfig) -> None:
    """Runs the command-queue until it is told to stop."""
    with telling_damage(context.settings):
        CommandQueue(context, config).run()


class CommandQueue:
    """The command-queue's loop: take what has gathered, commit, file, report."""

    def __init__(self, context: WorkerContext, config: CommandQueueConfig) -> None:
        self._context = context
        settings = context.settings
        layout = TableLayout.for_ring(settings.table_bytes, settings.table_mailboxes)
        self._table = TableReader(config.table.buffer, layout)
        self._reserve = Reserve(settings.state_dir)
        self._files = _open_in_root(settings.root, lambda: InboxFiles(settings.root))
        self._reserve.release_if_tight()
        self._store = _open_store(context, self._mail_at)
        outbox = _open_in_root(settings.root, lambda: Outbox(settings.root))
        self._filing = Filing(settings.root, self._files, self._store.files, context.beat)
        self._finds = LocalEvents(self._store, self._filing, outbox, context.epoch)
        self._team = TeamInboxDispatcher(TeamFiling(TeamInboxes(settings.root)))
        self._link: Link[Command, Outcome] = Link(context.epoch, config.writes, config.outcomes, self._unanswered)
        self._condition = DiskGuard(
            lambda: context.settings, self._reserve, self._store.transactions.used_bytes, self._link.send
        )
        self._meter = CommandQueueGauges(
            context.metrics,
            lambda: context.settings,
            self._store,
            self._condition,
            self._filing,
            self._team,
            self._link,
        )
        self._unasked: list[Outcome] = []
        self._housekeeping = Housekeeping(settings, self._store, self._files)
        self._writes, self._outcomes = config.writes, config.outcomes

    def run(self) -> None:
        """Recovers, then works until STOP."""
        self._recover()
        self._link.greet()
        self._context.ready()
        readiness = Readiness()
        for fileno in (self._context.control_fileno(), self._team.fileno(), *self._finds.filenos()):
            readiness.watch_reading(fileno)
        is_stopping = False
        while not is_stopping:
            self._context.beat()
            self._link.flush()
            if self._link.backlog < BACKLOG_OUTCOMES:
                self._take_commands()
            pause = self._work_off()
            readiness.watch_reading(self._writes.reader_fileno(), self._link.backlog < BACKLOG_OUTCOMES)
            readiness.watch_writing(self._outcomes.writer_fileno(), self._link.backlog > 0)
            if self._context.control_fileno() in readiness.wait(pause):
                is_stopping = self._context.stop_requested()
                self._housekeeping.settings = self._context.settings  # there may be new ones
        self._stop()

    # -- the way of a message -------------------------------------------------------------------------------------

    def _take_commands(self) -> bool:
        """Carries out what has gathered; returns whether there was anything."""
        gathered: list[Command] = []
        heard = self._link.receive()
        if self._unasked and self._link.is_hearing:  # before any commit: its counts are newer than these
            deletions = lost_deletions(self._table, self._store.transactions.connection, self._store.counted)
            self._report([*deletions, *self._unasked])
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
            ordered = [one for one in batch if not isinstance(one, LazyCommand)]
            self._housekeeping.gather(one for one in batch if isinstance(one, LazyCommand))
            if ordered:
                self._commit(ordered)
            self._context.beat()

    def _commit(self, commands: list[OrderedCommand]) -> None:
        refused: list[Outcome] = []
        if not self._condition.is_writable:
            messages = [one for one in commands if isinstance(one, WriteMessage)]
            refused = self._refuse(messages, *self._condition.refusal)
            commands = [one for one in commands if not isinstance(one, WriteMessage)]
        may_be_lost = all(isinstance(one, WriteOffered) for one in commands)
        work = [self._finds.found_at(one) if isinstance(one, IdsAllocated) else one for one in commands]
        notes, started_ns = CommitObserver(commands), time.monotonic_ns()
        lazy = [] if self._condition.is_full else self._housekeeping.lazy
        try:
            done = self._store.commit([*lazy, *work], now_ms(), lazily=may_be_lost)
            lazy.clear()
            self._meter.committed(started_ns, len(commands))
        except StoreFull:
            if self._condition.on_disk_full(can_wait=may_be_lost):
                return self._commit(commands)  # once more: without the messages, then in the reserve's room
            done = Committed(self._refuse(commands, *self._condition.refusal))
        except StoreFailed as error:
            self._exit_if_lost(error)
            sentence = f"the database could not be written ({error}): nothing was stored, try again"
            done = Committed(self._refuse(commands, Reason.STORAGE_FAILED, sentence, RETRY_AFTER_FAILURE_MS))
        else:
            self._finds.committed([one.request for one in commands if isinstance(one, IdsAllocated)])
        self._context.beat()
        notes.committed(done.mail)
        self._file(done, notes)
        done.outcomes = dismiss_unknown_files(commands, done.outcomes, self._filing.unknown)
        self._report([*refused, *done.outcomes])
        if done.mail:
            self._housekeeping.note_filed(done.mail[-1].id, len(done.mail), time.monotonic())
            self._finds.note_mail(done.mail)
        self._hand_to_teams(done)
        return None

    def _file(self, done: Committed, notes: CommitObserver) -> None:
        started_ns = time.monotonic_ns()
        errors = self._filing.file_mail(done.mail, time.monotonic())
        if done.mail:
            self._meter.filed(started_ns)
            notes.filed(done.mail, errors)
        gone = {number for removed in done.removed for number in self._filing.remove_files(*removed)}
        if errors:
            number, sentence = next(iter(errors.items()))
            log.warning("inbox file not written", message_id=f"{number:016x}", files=len(errors), error=sentence)
            self._while_writable(lambda: self._store.files.note_unfiled(errors))
            done.outcomes = [_with_error(one, errors) for one in done.outcomes]
        cleared = [number for one in done.outcomes if isinstance(one, MailboxCleared) for number in one.message_ids]
        if cleared:  # what can't be removed stays on the list, until `Filing` has removed it or the next start
            self._while_writable(lambda: self._store.files.forget_cleared(gone.intersection(cleared)))

    def _hand_to_teams(self, done: Committed) -> None:
        """Submits what is for a team, and settles what was committed before and is done."""
        now = time.monotonic()
        new = {one.id: one for one in done.mail if one.is_for_team}
        for one in new.values():
            self._team.submit(one, now)
        settled = [
            TeamInboxSettled(one.id, STILL_TRYING)
            for one in done.outcomes
            if isinstance(one, MessageWritten) and one.is_for_team and not self._team.is_waiting(one.id)
        ]
        if settled:
            self._report(settled)

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._link.send(outcome)
        self._link.flush()

    def _unanswered(self) -> list[Outcome]:
        """What a mailbox that restarted has to hear: it reads all else from the database."""
        return [self._condition.now(), *self._finds.asked()]

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

    def _refuse(
        self, commands: Sequence[OrderedCommand], reason: Reason, sentence: str, retry_after_ms: int
    ) -> list[Outcome]:
        """Refuses commands, except sends that turn out to have been committed before; findings ask again later."""
        self._finds.put_off([one.request for one in commands if isinstance(one, IdsAllocated)])
        return [
            StepsWritten(one.id, [])
            if isinstance(one, IdsAllocated | WriteOffered)
            else self._store.recognised(one) or CommandRefused(one.id, reason, sentence, retry_after_ms)
            for one in commands
        ]

    def _exit_if_lost(self, error: StoreFailed) -> None:
        """Ends the process if an fsync failed: the kernel may have dropped what was written, so see what is there."""
        log.error("database not written", error=str(error), fatal=error.fatal)
        if error.fatal:
            note_lost_write(self._context.settings.state_dir)
            os._exit(os.EX_IOERR)

    def _while_writable(self, write: Callable[[], object]) -> bool:
        """Writes what no sender waits for; returns False where the database did not take it."""
        try:
            write()
        except StoreFull:
            return self._condition.on_disk_full() and self._while_writable(write)
        except StoreFailed as error:
            self._exit_if_lost(error)
            return False
        return True

    # -- between commits ------------------------------------------------------------------------------------------

    def _work_off(self) -> float:
        """Does what is due beside the commits; returns for how many seconds nothing will be."""
        now, pause = time.monotonic(), 0.0

        def work() -> None:
            nonlocal pause
            has_room = not self._condition.is_full
            pause = min(self._housekeeping.run(now, now_ms(), has_room=has_room), self._finds.look(now, now_ms()))

        if not self._while_writable(work):
            pause = 1.0
        self._report([*self._housekeeping.take_outcomes(), *self._finds.requests(now), *self._settle_teams(now)])
        self._filing.remove_empty_directories(now, self._context.settings.forget_agents_sec)
        self._condition.look(now)
        self._meter.show(now)
        return min(self._context.beat_interval_sec, pause, self._team.due(now))

    def _settle_teams(self, now: float) -> list[TeamInboxSettled]:
        settled = self._team.settled(now)
        notes = self._team.take_notes()
        if notes and not self._while_writable(lambda: self._store.files.note_team_errors(notes)):
            self._team.put_notes_back(notes)
        self._resume_team_entries(now)
        return settled

    def _resume_team_entries(self, now: float) -> None:
        """Submits a slice of the messages that found no room in the backlog of their team inbox."""
        for recipient, first_id in self._team.take_deferred():
            missing = self._store.files.missing_in_team_inbox(recipient, first_id, RESUME_SLICE)
            for message in filter(None, map(self._store.files.message, missing)):
                self._team.submit(StoredMail(message.id, message.timestamp_ms, message.draft), now)
            if len(missing) == RESUME_SLICE:
                self._team.defer(recipient, missing[-1] + 1)

    # -- start and stop -------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        self._adopt_root()
        last_id = self._store.mark("last_id") if self._context.epoch == 1 else MAX_ID
        report = recover_files(
            self._store.files, self._files, self._store.mark("synced_id"), self._context.beat, last_id
        )
        self._while_writable(lambda: self._import_unknown_files(report))
        self._take_over(report)
        for message in filter(None, map(self._store.files.message, self._store.files.not_in_team_inbox())):
            self._team.submit(StoredMail(message.id, message.timestamp_ms, message.draft), time.monotonic())
        self._condition.start()
        # A mailbox that outlived this worker's predecessor still believes what that one said of the disk, and may not
        # have heard of its last transactions that nobody had ordered.
        late = self._store.changed_since(now_ms() - UNHEARD_MS) if self._context.epoch > 1 else []
        self._unasked = [*late, *self._unanswered()]

    def _import_unknown_files(self, report: RecoveryReport) -> None:
        """Imports what the database does not know; at the daemon's start only, when no mailbox runs yet."""
        import_unknown_files(self._store, self._filing.unknown, report.newer, now_ms(), self._context.beat)

    def _take_over(self, report: RecoveryReport) -> None:
        now = time.monotonic()
        for mailbox, number in self._store.files.unfiled():
            self._filing.retry_later(mailbox, number, now)
        for number in report.errors:  # of which the database may not know yet
            message = self._store.files.message(number)
            if message is not None:
                self._filing.retry_later(message.draft.recipient, number, now)
        if self._context.epoch > 1 or not self._commit_taken(report):
            for finding in report.taken:
                self._finds.add(finding)
        if report.rewritten or report.taken or report.removed or report.errors:
            log.info(
                "inbox files recovered",
                checked=report.checked,
                rewritten=report.rewritten,
                taken=sum(one.places for one in report.taken),
                removed=report.removed,
                failed=len(report.errors),
            )

    def _commit_taken(self, report: RecoveryReport) -> bool:
        """Commits what agents took while the daemon was down. No mailbox runs yet, so the next places are free."""
        ids = IdSequence(self._store.mark("last_id"))
        at_ms = now_ms()
        found: list[SequencedEvent] = []
        for finding in report.taken:
            first = ids.issue(at_ms, finding.places)
            found.append(SequencedEvent(first, ids.last, finding))
        return not found or self._while_writable(lambda: self._store.commit(found, at_ms))

    def _adopt_root(self) -> None:
        root = self._context.settings.root
        try:
            if self._store.adopt_root(root):
                log.warning("another root than last time: every inbox file is written again", root=str(root))
        except StoreFull as error:
            raise CannotStart(f"{FULL_SENTENCE} (the first start needs some)", os.EX_CANTCREAT) from error

    def _stop(self) -> None:
        while self._take_commands():
            pass
        self._team.close()
        notes = self._team.take_notes()
        is_written = self._while_writable(lambda: self._store.files.note_team_errors(notes))
        if not (self._while_writable(lambda: self._housekeeping.finish(now_ms())) and is_written):
            log.warning("stopped without its last marks: the next start checks the files instead")
        self._link.flush()
        self._store.close()
        self._finds.close()
        self._files.close()


def _open_in_root(root: Path, opening: Callable[[], Opened]) -> Opened:
    """Opens one of the root's directories, without which there is no point in starting."""
    try:
        return opening()
    except OSError as error:
        raise CannotStart(
            f"{error.filename or root} cannot be used: {error.strerror} (links are not followed). "
            "Give a --root that the daemon may write to.",
            os.EX_CANTCREAT,
        ) from error


def _open_store(context: WorkerContext, mail_at: Callable[[WriteMessage], StoredMail]) -> MessageStore:
    state_dir = context.settings.state_dir
    try:
        take_restored(state_dir, context.beat)
        return MessageStore(state_dir, mail_at, context.beat)
    except DatabaseTooNew as error:
        raise CannotStart(str(error)) from error
    except sqlite3.DatabaseError as error:
        if is_damaged(error):
            raise
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
        return msgspec.structs.replace(outcome, state=DeliveryState.STORED, file_error=errors[outcome.id])
    if isinstance(outcome, MessageRepeated) and outcome.original_id in errors:  # the first one is of the same batch
        error = errors[outcome.original_id]
        return msgspec.structs.replace(outcome, state=DeliveryState.STORED, file_error=error)
    return outcome
