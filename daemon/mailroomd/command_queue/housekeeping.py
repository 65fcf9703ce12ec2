"""Housekeeping — the command-queue's periodic work, which no sender waits for.

Owns the lazy writes (last-seen times, agents to forget), the sync of the files' file system, the checkpoints, the
retention sweep and the filling of the full-text index, each with its timer and in slices. Slow system calls run in one
thread; only the loop's own thread touches the store. Not here: retries of files (`Filing`), the commits.
"""

__all__ = ["Housekeeping"]

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn, TypeVar

from mailroomd.command_queue.commit import Commit, CommitObserver
from mailroomd.command_queue.suspect_commands import InputFailed, failing_of_input
from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.protocol.packets import LazyCommand
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.connection import checkpoint, is_full, is_lost_write, mark_lost_write
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.storage.inbox.files import InboxFiles, sync_filesystem

Result = TypeVar("Result")

LAZY_AFTER_SEC = 0.25  # how long lazy writes wait for a commit that takes them along
SYNC_EVERY_SEC = 5.0  # of writing: what a power cut makes recovery rewrite
CHECKPOINT_BYTES = 4 << 20  # written since the last one: as much as SQLite's own default of 1,000 pages
RESTART_LOG_PAGES = 8000  # a log that outgrew the background checkpoints (32 MiB) is settled between two commits
MAX_LAZY = 10_000  # writes that wait while the disk is full; beyond it the oldest are dropped
SWEEP_SLICE = 200  # messages deleted in one transaction: some 5 ms
SWEEP_PAUSE_SEC = 0.02  # between two slices, so that commits come through
INDEX_PAUSE_SEC = 0.02  # likewise for the index
INDEX_QUIET_SEC = 0.1  # without mail before the index is filled, so that it costs no sender anything ...
MAX_UNINDEXED = 5000  # ... unless more messages wait for it: a search reads each of them ...
INDEX_PATIENCE_SEC = 2.0  # ... or one has waited for so long: mail that never pauses is indexed, too
IDLE_SEC = 60.0  # until the next call if nothing is due
SUSPENDED_SEC = 60.0  # for which work that raised is left alone


class Housekeeping(CommitObserver):
    """The command-queue's timers.

    Args:
        settings: the state directory, and how long to keep what.
        store: the database.
        files: the inbox directories.

    Attributes:
        settings: may be replaced at any time.
        lazy: writes without an fsync of their own; the next commit takes them along and clears the list.
    """

    def __init__(self, settings: Settings, store: MessageStore, files: InboxFiles) -> None:
        self.lazy: list[LazyCommand] = []
        self.settings = settings
        self._reports: list[Report] = []
        self._state_dir = settings.state_dir
        self._store = store
        self._files = files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="housekeeping")
        self._sync: Future[int] | None = None
        self._checkpoint: Future[int] | None = None
        self._filed_id = 0
        self._synced_id = 0
        self._lazy_since_sec = 0.0
        self._last_sync_sec = 0.0
        self._next_sweep_sec = 0.0
        self._next_indexing_sec = 0.0
        self._unindexed = 1  # after a start, something may be left
        self._last_mail_sec = 0.0
        self._unindexed_since_sec = 0.0
        self._suspended: dict[str, float] = {}  # until when, by the name of the work

    def enqueue(self, writes: Iterable[LazyCommand]) -> None:
        """Adds lazy writes."""
        self.lazy.extend(writes)
        del self.lazy[:-MAX_LAZY]

    def on_committed(self, commit: Commit) -> None:
        """Records that new messages are committed, and that every file up to the last one is written."""
        if commit.result.mail:
            self.on_mail_filed(commit.result.mail[-1].id, len(commit.result.mail), time.monotonic())

    def on_mail_filed(self, last_id: int, message_count: int, now_sec: float) -> None:
        """Records new messages; every file up to an id is written."""
        self._filed_id = last_id
        if not self._unindexed:
            self._unindexed_since_sec = now_sec
        self._unindexed += message_count
        self._last_mail_sec = now_sec

    def drain_reports(self) -> list[Report]:
        """Returns the reports for the mailbox, and forgets them."""
        reports, self._reports = self._reports, []
        return reports

    def run(self, now_sec: float, now_ms: int, *, has_room: bool = True) -> float:
        """Does what is due; returns for how many seconds nothing will be.

        Args:
            has_room: whether the disk is not full. If it is, only work that frees space is done: the rest can wait,
                and would take the space that is reserved for acknowledgements.

        Raises:
            StoreFull, StoreFailed: from the store; nothing was written.
        """
        self._settle_log()
        pause_sec = min(self._attempt("retention", lambda: self._sweep(now_sec, now_ms), now_sec), IDLE_SEC)
        if not has_room:
            return pause_sec
        return min(
            pause_sec,
            self._attempt("lazy writes", lambda: self._write_lazily(now_sec, now_ms), now_sec),
            self._sync_files(now_sec),
            self._attempt("search index", lambda: self._fill_index(now_sec), now_sec),
        )

    def _attempt(self, name: str, step: Callable[[], float], now_sec: float) -> float:
        """Does one kind of work; one that raises what nobody expected is left alone for a while."""
        if now_sec < self._suspended.get(name, 0.0):
            return self._suspended[name] - now_sec
        try:
            with failing_of_input():
                return step()
        except InputFailed as error:
            log.error("housekeeping suspended", work=name, error=str(error), retry_sec=SUSPENDED_SEC)
            self._suspended[name] = now_sec + SUSPENDED_SEC
            if name == "lazy writes":
                self.lazy.clear()  # they may be lost: see `LazyCommand`
            return SUSPENDED_SEC

    def finish(self, now_ms: int) -> None:
        """Makes everything durable, at a clean stop."""
        self._thread.shutdown(wait=True)
        sync_filesystem(self._files.inbox_fileno)
        self._store.commit(self.lazy, now_ms, lazily=True)
        self.lazy.clear()
        self._store.record_synced(max(self._filed_id, self._store.mark("synced_id")))

    def _write_lazily(self, now_sec: float, now_ms: int) -> float:
        if not self.lazy:
            self._lazy_since_sec = 0.0
            return IDLE_SEC
        self._lazy_since_sec = self._lazy_since_sec or now_sec
        if now_sec - self._lazy_since_sec < LAZY_AFTER_SEC:
            return LAZY_AFTER_SEC - (now_sec - self._lazy_since_sec)
        self._store.commit(self.lazy, now_ms, lazily=True)
        self.lazy.clear()
        self._lazy_since_sec = 0.0
        return IDLE_SEC

    def _sync_files(self, now_sec: float) -> float:
        if self._sync is not None and self._sync.done():
            self._synced_id = self._result_or_exit(self._sync)
            self._store.record_synced(self._synced_id)
            self._sync = None
        if self._sync is not None:
            return SYNC_EVERY_SEC / 10
        if self._filed_id <= self._synced_id:
            self._last_sync_sec = now_sec  # nothing to sync: the period starts with the next file
            return IDLE_SEC
        if now_sec - self._last_sync_sec >= SYNC_EVERY_SEC:
            self._last_sync_sec = now_sec
            self._sync = self._thread.submit(_sync, os.dup(self._files.inbox_fileno), self._filed_id)
            return SYNC_EVERY_SEC / 10
        return SYNC_EVERY_SEC - (now_sec - self._last_sync_sec)

    def _sweep(self, now_sec: float, now_ms: int) -> float:
        """Deletes a slice of what is past its retention; returns the seconds until the next."""
        if now_sec >= self._next_sweep_sec:
            before_ms = now_ms - int(self.settings.keep_read_sec * 1000)
            deleted, reports = self._store.delete_ended(before_ms, SWEEP_SLICE, now_ms)
            self._reports += reports
            seen_before_ms = now_ms - int(self.settings.forget_agents_sec * 1000)
            is_left = self._store.forget_old(now_ms) or self._store.forget_agents(seen_before_ms, SWEEP_SLICE)
            is_left = is_left or bool(deleted)
            self._next_sweep_sec = now_sec + (SWEEP_PAUSE_SEC if is_left else self.settings.sweep_every_sec)
        return self._next_sweep_sec - now_sec

    def _fill_index(self, now_sec: float) -> float:
        """Indexes a slice of the new messages; returns the seconds until the next."""
        if not self._unindexed:
            return IDLE_SEC
        if self._unindexed < MAX_UNINDEXED and now_sec < self._unindexed_since_sec + INDEX_PATIENCE_SEC:
            self._next_indexing_sec = max(self._next_indexing_sec, self._last_mail_sec + INDEX_QUIET_SEC)
        if now_sec >= self._next_indexing_sec:
            indexed = self._store.index_more()
            if indexed >= self._unindexed:
                self._unindexed_since_sec = now_sec
            self._unindexed = max(1, self._unindexed - indexed) if indexed else 0
            self._next_indexing_sec = now_sec + INDEX_PAUSE_SEC
        return self._next_indexing_sec - now_sec if self._unindexed else IDLE_SEC

    def _settle_log(self) -> None:
        if self._checkpoint is None:
            if self._store.transactions.unsettled_bytes > CHECKPOINT_BYTES:
                self._store.transactions.unsettled_bytes = 0
                self._checkpoint = self._thread.submit(checkpoint, self._state_dir)
        elif self._checkpoint.done():
            finished, self._checkpoint = self._checkpoint, None
            if self._result_or_exit(finished) > RESTART_LOG_PAGES:
                self._store.transactions.settle_rest_of_log()

    def _result_or_exit(self, future: Future[Result]) -> Result:
        """Returns a thread's result; exits after a failed fsync, when nothing in memory can be trusted.

        Raises:
            StoreFull, StoreFailed: a checkpoint found no space, or another obstacle; the log still has everything.
        """
        try:
            return future.result()
        except sqlite3.Error as error:
            if not is_lost_write(error):
                no_space = is_full(error, self._state_dir)
                raise (StoreFull(str(error)) if no_space else StoreFailed(error)) from error
            self._exit_after_lost_write(error)
        except OSError as error:  # of syncfs
            self._exit_after_lost_write(error)

    def _exit_after_lost_write(self, error: Exception) -> NoReturn:
        log.error("fsync failed", error=str(error))
        mark_lost_write(self._state_dir)
        os._exit(os.EX_IOERR)


def _sync(fd: int, synced_id: int) -> int:
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)
    return synced_id
