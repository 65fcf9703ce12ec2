"""Committer — commits a batch of commands, files its messages and reports one outcome for each command.

Owns the order commit → files → outcomes, the entries of team inboxes that follow, and what happens when the store is
full or fails. Not here: SQL (`MessageStore`), files (`Filing`), whether the disk has room (`DiskGuard`).
Above: the command-queue's loop.
Invariants: an outcome is sent only after the change that it reports is durable; every command gets exactly one; a
command that cannot be executed costs no other command anything.
"""

__all__ = ["Committer"]

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import msgspec

from mailroomd.command_queue.commit_observer import CommitObserver
from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.housekeeping import Housekeeping
from mailroomd.command_queue.local_events import LocalEvents
from mailroomd.command_queue.suspect_commands import InputFailed, failing_of_input
from mailroomd.command_queue.team_dispatcher import STILL_TRYING, TeamInboxDispatcher
from mailroomd.command_queue.unknown_mail import dismiss_unknown_files
from mailroomd.core.suspect_input import NOT_OF_INPUT
from mailroomd.ipc.link import Link
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import Reason
from mailroomd.model.ids import format_id
from mailroomd.model.states import DeliveryState
from mailroomd.observability.log import log
from mailroomd.protocol.commands import (
    Command,
    CommandRefused,
    IdsAllocated,
    MailboxCleared,
    MessageRepeated,
    MessageWritten,
    Outcome,
    SequencedCommand,
    StepsWritten,
    TeamInboxSettled,
    WriteMessage,
    WriteOffered,
)
from mailroomd.storage.database.connection import mark_lost_write
from mailroomd.storage.database.file_guard import FileReplaced
from mailroomd.storage.database.message_store import CommitResult, MessageStore
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.storage.inbox.filing import Filing
from mailroomd.worker.context import CannotStart, WorkerContext

RETRY_AFTER_FAILURE_MS = 1000


class Committer:
    """Commits batches.

    Args:
        context: the worker's.
        store: the database.
        filing: the inbox files.
        local_events: found by the command-queue itself.
        team: the team inboxes.
        housekeeping: has lazy writes for the next transaction.
        disk_guard: decides whether messages are accepted.
        link: to the mailbox.
    """

    def __init__(
        self,
        context: WorkerContext,
        store: MessageStore,
        filing: Filing,
        local_events: LocalEvents,
        team: TeamInboxDispatcher,
        housekeeping: Housekeeping,
        disk_guard: DiskGuard,
        link: Link[Command, Outcome],
    ) -> None:
        self._context = context
        self._store = store
        self._filing = filing
        self._local_events = local_events
        self._team = team
        self._housekeeping = housekeeping
        self._disk_guard = disk_guard
        self._link = link
        self._failed_writes = 0

    def commit(self, commands: Sequence[SequencedCommand]) -> None:
        """Commits commands in one transaction, writes the files of their messages and reports the outcomes.

        If one of them raises an exception that nobody expected, it is refused, and the others are committed in parts.
        """
        self._commit(commands, with_lazy=True)

    def _commit(self, commands: Sequence[SequencedCommand], *, with_lazy: bool) -> None:
        refused: list[Outcome] = []
        while True:
            if not self._disk_guard.is_writable:
                messages = [command for command in commands if isinstance(command, WriteMessage)]
                refused += self._refuse(messages, *self._disk_guard.refusal)
                commands = [command for command in commands if not isinstance(command, WriteMessage)]
            observer = CommitObserver(self._context.metrics, commands)
            can_wait = all(isinstance(command, WriteOffered) for command in commands)
            try:
                result = self._write(commands, observer, lazily=can_wait, with_lazy=with_lazy)
            except StoreFull:
                if self._disk_guard.on_disk_full(can_wait=can_wait):
                    continue  # without the messages, then in the space of the reserve
                result = CommitResult(self._refuse(commands, *self._disk_guard.refusal))
            except StoreFailed as error:
                self._exit_if_lost(error)
                sentence = f"the database could not be written ({error}): nothing was stored; retry"
                result = CommitResult(self._refuse(commands, Reason.STORAGE_FAILED, sentence, RETRY_AFTER_FAILURE_MS))
            except FileReplaced as error:
                self._refuse_and_stop(refused, commands, error)
            except InputFailed as error:
                self.report(refused)
                self._commit_in_parts(commands, error, with_lazy=with_lazy)
                return
            break
        self._finish(commands, refused, result, observer)

    def _commit_in_parts(self, commands: Sequence[SequencedCommand], error: InputFailed, *, with_lazy: bool) -> None:
        """Looks for the command that raises: without the lazy writes, then in halves; refuses it when it is alone."""
        self._context.beat()
        if with_lazy and self._housekeeping.lazy:
            self._commit(commands, with_lazy=False)
        elif len(commands) > 1:
            middle = len(commands) // 2
            self._commit(commands[:middle], with_lazy=False)
            self._commit(commands[middle:], with_lazy=False)
        else:
            self.report([self._set_aside(command, error) for command in commands])

    def _set_aside(self, command: SequencedCommand, error: InputFailed) -> Outcome:
        """Refuses the one command that raises; a local event is tried again a few times."""
        log.error(
            "command set aside, cannot be executed",
            command=type(command).__name__,
            message_id=format_id(command.id),
            error=str(error),
        )
        if isinstance(command, IdsAllocated):
            self._local_events.set_aside(command.request)
        if isinstance(command, IdsAllocated | WriteOffered):
            return StepsWritten(command.id, [])
        sentence = f"mailroomd cannot execute this request ({error}): nothing was stored; see the daemon's log"
        return self._recognize(command) or CommandRefused(command.id, Reason.INTERNAL, sentence, 0)

    def _recognize(self, command: SequencedCommand) -> Outcome | None:
        try:
            return self._store.recognize(command)
        except NOT_OF_INPUT:
            raise
        except Exception:  # noqa: BLE001 - the command that is being looked at is known to raise
            return None

    def _finish(
        self,
        commands: Sequence[SequencedCommand],
        refused: Sequence[Outcome],
        result: CommitResult,
        observer: CommitObserver,
    ) -> None:
        """Does what follows a transaction: files, outcomes, team inboxes."""
        self._context.beat()
        self._file(result, observer)
        result.outcomes = dismiss_unknown_files(commands, result.outcomes, self._filing.unknown)
        self.report([*refused, *result.outcomes])
        if result.mail:
            self._housekeeping.on_mail_filed(result.mail[-1].id, len(result.mail), time.monotonic())
            self._local_events.schedule_due(result.mail)
        self._submit_to_teams(result)

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Sends outcomes to the mailbox."""
        for outcome in outcomes:
            self._link.send(outcome)
        self._link.flush()

    def try_write(self, write: Callable[[], object]) -> bool:
        """Makes a write that no sender waits for; returns False if the database did not accept it.

        One that raises what nobody expected is logged after 1, 2, 4, 8 ... failures: it may be tried every second.
        """
        try:
            with failing_of_input():
                write()
        except InputFailed as error:
            self._failed_writes += 1
            if self._failed_writes.bit_count() == 1:
                log.error("write set aside, cannot be executed", error=str(error), failures=self._failed_writes)
            return False
        except StoreFull:
            return self._disk_guard.on_disk_full() and self.try_write(write)
        except StoreFailed as error:
            self._exit_if_lost(error)
            return False
        return True

    def _write(
        self, commands: Sequence[SequencedCommand], observer: CommitObserver, *, lazily: bool, with_lazy: bool
    ) -> CommitResult:
        """Makes the transaction, with the lazy writes that wait.

        Raises:
            StoreFull, StoreFailed, InputFailed: nothing was written.
            FileReplaced: it was written, but to a file that is no longer the database.
        """
        allocated = [command for command in commands if isinstance(command, IdsAllocated)]
        work = [
            self._local_events.sequence(command) if isinstance(command, IdsAllocated) else command
            for command in commands
        ]
        lazy = self._housekeeping.lazy if with_lazy and not self._disk_guard.is_full else []
        with failing_of_input():
            result = self._store.commit([*lazy, *work], now_ms(), lazily=lazily)
        self._store.transactions.file_guard.check()
        lazy.clear()
        observer.record_commit(result.mail, self._store.transactions.last_sync_ns)
        self._local_events.on_committed([command.request for command in allocated])
        return result

    def _file(self, result: CommitResult, observer: CommitObserver) -> None:
        observer.begin_filing()
        errors = self._filing.file_mail(result.mail, time.monotonic())
        observer.record_filing(result.mail, errors)
        gone = {message_id for removed in result.removed for message_id in self._filing.remove_files(*removed)}
        if errors:
            message_id, error = next(iter(errors.items()))
            log.warning("inbox files not written", message_id=format_id(message_id), files=len(errors), error=error)
            self.try_write(lambda: self._store.files.record_unfiled(errors))
            result.outcomes = [_with_file_error(outcome, errors) for outcome in result.outcomes]
        cleared = [
            message_id
            for outcome in result.outcomes
            if isinstance(outcome, MailboxCleared)
            for message_id in outcome.message_ids
        ]
        if cleared:  # a file that cannot be removed stays listed until `Filing` or the next start removes it
            self.try_write(lambda: self._store.files.forget_cleared(gone.intersection(cleared)))

    def _submit_to_teams(self, result: CommitResult) -> None:
        """Submits new entries of team inboxes, and reports those that were committed and finished before."""
        now_sec = time.monotonic()
        for message in result.mail:
            if message.is_for_team:
                self._team.submit(message, now_sec)
        finished = [
            TeamInboxSettled(outcome.id, STILL_TRYING)
            for outcome in result.outcomes
            if isinstance(outcome, MessageWritten) and outcome.is_for_team and not self._team.is_waiting(outcome.id)
        ]
        if finished:
            self.report(finished)

    def _refuse(
        self, commands: Sequence[SequencedCommand], reason: Reason, sentence: str, retry_after_ms: int
    ) -> list[Outcome]:
        """Refuses commands, except sends that were committed before; local events ask for new ids later."""
        self._local_events.postpone([command.request for command in commands if isinstance(command, IdsAllocated)])
        return [
            StepsWritten(command.id, [])
            if isinstance(command, IdsAllocated | WriteOffered)
            else self._store.recognize(command) or CommandRefused(command.id, reason, sentence, retry_after_ms)
            for command in commands
        ]

    def _refuse_and_stop(
        self, refused: Sequence[Outcome], commands: Sequence[SequencedCommand], error: FileReplaced
    ) -> NoReturn:
        """Refuses a batch that went into a deleted file, and stops the daemon.

        Raises:
            CannotStart: always.
        """
        log.error("database file removed or replaced, stopping", path=str(error.path))
        sentence = str(error)
        lost = [
            StepsWritten(command.id, [])
            if isinstance(command, IdsAllocated | WriteOffered)
            else CommandRefused(command.id, Reason.STORAGE_FAILED, sentence, 0)
            for command in commands
        ]
        self.report([*refused, *lost])
        raise CannotStart(sentence) from error

    def _exit_if_lost(self, error: StoreFailed) -> None:
        """Exits after a failed fsync: the kernel may have dropped the data, so the next start reads the disk again."""
        log.error("database not written", error=str(error), fatal=error.fatal)
        if error.fatal:
            mark_lost_write(self._context.settings.state_dir)
            os._exit(os.EX_IOERR)


def _with_file_error(outcome: Outcome, errors: Mapping[int, str]) -> Outcome:
    if isinstance(outcome, MessageWritten) and outcome.id in errors:
        return msgspec.structs.replace(outcome, state=DeliveryState.STORED, file_error=errors[outcome.id])
    if isinstance(outcome, MessageRepeated) and outcome.original_id in errors:  # the original is in the same batch
        error = errors[outcome.original_id]
        return msgspec.structs.replace(outcome, state=DeliveryState.STORED, file_error=error)
    return outcome
