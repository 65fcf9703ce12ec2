"""Committer — makes commands durable, and tells the observers what became of them.

Owns the loop around the transaction: what happens when the store is full or fails, and when a command raises. Not here:
SQL (`MessageStore`), whether the disk has room (`DiskGuard`), what follows a commit (its observers).
Above: the command-queue's loop.
Invariants: every command is committed or refused, once; a command that cannot be executed costs no other command
anything; the observers hear of a change only after it is durable.
"""

__all__ = ["Committer"]

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from mailroomd.command_queue.background_writes import exit_if_lost
from mailroomd.command_queue.commit import Commit, CommitObserver, Refusal
from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.suspect_commands import InputFailed, failing_of_input
from mailroomd.core.suspect_input import NOT_OF_INPUT
from mailroomd.model.clock import now_ms
from mailroomd.model.errors import Reason
from mailroomd.model.ids import format_id
from mailroomd.observability.log import log
from mailroomd.protocol.operations import Done, IdsAllocated, MarkOffered, Refused, Result, Send
from mailroomd.protocol.packets import Command, LazyCommand, Outcome
from mailroomd.storage.database.file_guard import FileReplaced
from mailroomd.storage.database.message_store import MessageStore, SequencedWrite
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.worker.context import CannotStart, WorkerContext

RETRY_AFTER_FAILURE_MS = 1000


class Committer:
    """Commits batches.

    Args:
        context: the worker's.
        store: the database.
        resolve: returns what the store is to write for a command.
        lazy: writes that the next transaction takes along; cleared when it is durable.
        disk_guard: decides whether messages are accepted.
        observers: what follows a commit, in order.
    """

    def __init__(
        self,
        context: WorkerContext,
        store: MessageStore,
        resolve: Callable[[Command], SequencedWrite],
        lazy: list[LazyCommand],
        disk_guard: DiskGuard,
        observers: Sequence[CommitObserver],
    ) -> None:
        self._context = context
        self._store = store
        self._resolve = resolve
        self._lazy = lazy
        self._disk_guard = disk_guard
        self._observers = observers

    def commit(self, commands: Sequence[Command]) -> None:
        """Commits commands in one transaction, if that is possible, and notifies the observers.

        If one of them raises an exception that nobody expected, it is refused, and the others are committed in parts.

        Raises:
            CannotStart: the database was removed or replaced; the commands are refused.
        """
        parts, takes_lazy = deque([commands]), True
        while parts:
            part = self._refuse_sends_if_full(parts.popleft())
            if not part:
                continue
            can_wait = all(isinstance(command.op, MarkOffered) for command in part)
            try:
                commit = self._write(part, lazily=can_wait, takes_lazy=takes_lazy)
            except StoreFull:
                if self._disk_guard.on_disk_full(can_wait=can_wait):
                    parts.appendleft(part)  # again, without the messages, then in the space of the reserve
                else:
                    self._refuse(part, *self._disk_guard.refusal)
            except StoreFailed as error:
                exit_if_lost(error, self._context.settings.state_dir)
                sentence = f"the database could not be written ({error}): nothing was stored; retry"
                self._refuse(part, Reason.STORAGE_FAILED, sentence, RETRY_AFTER_FAILURE_MS)
            except FileReplaced as error:
                self._refuse_and_stop(part, error)
            except InputFailed as error:
                self._context.beat()
                parts.extendleft(reversed(self._divide(part, error, takes_lazy=takes_lazy)))
                takes_lazy = False
            else:
                self._context.beat()
                for observer in self._observers:
                    observer.on_committed(commit)

    def _write(self, commands: Sequence[Command], *, lazily: bool, takes_lazy: bool) -> Commit:
        """Makes the transaction, with the lazy writes that wait.

        Raises:
            StoreFull, StoreFailed, InputFailed: nothing was written.
            FileReplaced: it was written, but to a file that is no longer the database.
        """
        started_ns, started_at_ns = time.monotonic_ns(), time.time_ns()
        takes_lazy = takes_lazy and not self._disk_guard.is_full
        with failing_of_input():
            writes = [self._resolve(command) for command in commands]
            result = self._store.commit([*self._lazy, *writes] if takes_lazy else writes, now_ms(), lazily=lazily)
        self._store.transactions.file_guard.check()
        if takes_lazy:
            self._lazy.clear()
        sync_ns = self._store.transactions.last_sync_ns
        return Commit(commands, result, started_ns, time.monotonic_ns(), started_at_ns, sync_ns)

    # -- what cannot be committed ---------------------------------------------------------------------------------

    def _refuse_sends_if_full(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Refuses the messages while none are accepted; returns the other commands."""
        if self._disk_guard.is_writable:
            return commands
        messages = [command for command in commands if isinstance(command.op, Send)]
        if messages:
            self._refuse(messages, *self._disk_guard.refusal)
        return [command for command in commands if not isinstance(command.op, Send)]

    def _refuse(self, commands: Sequence[Command], reason: Reason, sentence: str, retry_after_ms: int) -> None:
        """Refuses commands, except sends that were committed before."""
        refused = Refused(reason, sentence, retry_after_ms=retry_after_ms)
        outcomes = [
            Outcome(command.id, self._store.recognize(command) or _result_of(command, refused)) for command in commands
        ]
        self._notify_of(Refusal(commands, outcomes))

    def _divide(self, commands: Sequence[Command], error: InputFailed, *, takes_lazy: bool) -> list[Sequence[Command]]:
        """Returns the parts in which to look for the command that raises; refuses it when it is alone.

        First without the lazy writes, then in halves.
        """
        if takes_lazy and self._lazy:
            return [commands]
        if len(commands) > 1:
            middle = len(commands) // 2
            return [commands[:middle], commands[middle:]]
        self._set_aside(commands, error)
        return []

    def _set_aside(self, commands: Sequence[Command], error: InputFailed) -> None:
        """Refuses the one command that raises."""
        outcomes: list[Outcome] = []
        for command in commands:
            log.error(
                "command set aside, cannot be executed",
                command=type(command.op).__name__,
                message_id=format_id(command.id),
                error=str(error),
            )
            sentence = f"mailroomd cannot execute this request ({error}): nothing was stored; see the daemon's log"
            refused = Refused(Reason.INTERNAL, sentence)
            outcomes.append(Outcome(command.id, self._recognize_suspect(command) or _result_of(command, refused)))
        self._notify_of(Refusal(commands, outcomes, is_set_aside=True))

    def _recognize_suspect(self, command: Command) -> Result | None:
        try:
            return self._store.recognize(command)
        except NOT_OF_INPUT:
            raise
        except Exception:  # noqa: BLE001 - the command that is being looked at is known to raise
            return None

    def _refuse_and_stop(self, commands: Sequence[Command], error: FileReplaced) -> NoReturn:
        """Refuses a batch that went into a deleted file, and stops the daemon.

        Raises:
            CannotStart: always.
        """
        log.error("database file removed or replaced, stopping", path=str(error.path))
        sentence = str(error)
        refused = Refused(Reason.STORAGE_FAILED, sentence)
        lost = [Outcome(command.id, _result_of(command, refused)) for command in commands]
        self._notify_of(Refusal(commands, lost))
        raise CannotStart(sentence) from error

    def _notify_of(self, refusal: Refusal) -> None:
        for observer in self._observers:
            observer.on_refused(refusal)


def _result_of(command: Command, refused: Refused) -> Result:
    """Returns the result of a command that is refused; nobody waits for marks, and local events ask for new ids."""
    return Done() if isinstance(command.op, IdsAllocated | MarkOffered) else refused
