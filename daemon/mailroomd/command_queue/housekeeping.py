"""Housekeeping — what the command-queue does beside the commits that somebody waits for.

Owns the lazy writes (who was here, and who is forgotten), the sync of the files' filesystem, the checkpoints, the sweep
over what is past its time and the filling of the full-text index, each with its timer and in slices. Slow system calls
run in one thread; only the loop's own thread touches the store. Not here: retries of files (`Filing`), the commits.
Invariant: nothing here is awaited by a sender.
"""

__all__ = ["Housekeeping"]

import os
import sqlite3
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn, TypeVar

from mailroomd.model.settings import Settings
from mailroomd.observability.log import log
from mailroomd.protocol.commands import LazyCommand, Outcome
from mailroomd.storage.database.connection import checkpoint, is_full, is_lost_write, note_lost_write
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.storage.inbox.files import InboxFiles, sync_filesystem

Result = TypeVar("Result")

LAZY_AFTER_SEC = 0.25  # last-seen marks are gathered so long when no commit takes them along
SYNC_EVERY_SEC = 5.0  # of writing: what a power cut makes recovery write again
CHECKPOINT_BYTES = 4 << 20  # written since the last one: as much as SQLite's own default of 1,000 pages
RESTART_LOG_PAGES = 8000  # a log that outgrew the background checkpoints (32 MiB) is settled between two commits
LAZY_MOST = 10_000  # writes that wait while the disk is full; the oldest may be lost
SWEEP_SLICE = 200  # messages deleted in one transaction: some 5 ms
SWEEP_PAUSE_SEC = 0.02  # between two slices, so that commits come through
INDEX_PAUSE_SEC = 0.02  # likewise for the index
INDEX_QUIET_SEC = 0.1  # without mail before the index is filled, so that it costs no sender anything ...
INDEX_REST_MOST = 5000  # ... unless so many messages wait for it: a search looks through them one by one


class Housekeeping:
    """The command-queue's timers.

    Args:
        settings: where the database lies, and what is kept for how long.
        store: its writer.
        files: the inbox directories.

    Attributes:
        settings: may be set anew at any time.
        lazy: writes without an fsync of their own; the next commit takes them along and clears the list.
    """

    def __init__(self, settings: Settings, store: MessageStore, files: InboxFiles) -> None:
        self.lazy: list[LazyCommand] = []
        self._untold: list[Outcome] = []
        self.settings = settings
        self._state_dir = settings.state_dir
        self._store = store
        self._files = files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="housekeeping")
        self._sync: Future[int] | None = None
        self._checkpoint: Future[int] | None = None
        self._filed_id = 0
        self._synced_id = 0
        self._lazy_since = 0.0
        self._last_sync = 0.0
        self._next_sweep = 0.0
        self._next_indexing = 0.0
        self._unindexed = 1  # at a start, something may be left
        self._last_mail = 0.0

    def gather(self, writes: Iterable[LazyCommand]) -> None:
        """Takes lazy writes."""
        self.lazy.extend(writes)
        del self.lazy[:-LAZY_MOST]

    def note_filed(self, number: int, count: int, now: float) -> None:
        """Takes note that so many messages came in, and that every file up to this id is written."""
        self._filed_id = number
        self._unindexed += count
        self._last_mail = now

    def take_outcomes(self) -> list[Outcome]:
        """Returns what the mailbox is to be told, and forgets it."""
        untold, self._untold = self._untold, []
        return untold

    def run(self, now: float, now_ms: int, *, has_room: bool = True) -> float:
        """Does what is due; returns for how many seconds nothing will be.

        Args:
            has_room: whether the disk is not full. Where it is, only what makes room is done: the rest can wait, and
                would take the room that is kept for acknowledging.

        Raises:
            StoreFull, StoreFailed: from the store; nothing was written.
        """
        self._settle_log()
        due = self._sweep(now, now_ms)
        if not has_room:
            return min(due, 60.0)
        return min(due, self._write_lazily(now, now_ms), self._sync_files(now), self._fill_index(now), 60.0)

    def finish(self, now_ms: int) -> None:
        """Makes everything durable, at a clean stop."""
        self._thread.shutdown(wait=True)
        sync_filesystem(self._files.inbox_fileno)
        self._store.commit(self.lazy, now_ms, lazily=True)
        self.lazy.clear()
        self._store.note_synced(max(self._filed_id, self._store.mark("synced_id")))

    def _write_lazily(self, now: float, now_ms: int) -> float:
        if not self.lazy:
            self._lazy_since = 0.0
            return 60.0
        self._lazy_since = self._lazy_since or now
        if now - self._lazy_since < LAZY_AFTER_SEC:
            return LAZY_AFTER_SEC - (now - self._lazy_since)
        self._store.commit(self.lazy, now_ms, lazily=True)
        self.lazy.clear()
        self._lazy_since = 0.0
        return 60.0

    def _sync_files(self, now: float) -> float:
        if self._sync is not None and self._sync.done():
            self._synced_id = self._result_or_exit(self._sync)
            self._store.note_synced(self._synced_id)
            self._sync = None
        if self._sync is not None:
            return SYNC_EVERY_SEC / 10
        if self._filed_id <= self._synced_id:
            self._last_sync = now  # nothing to sync: the period starts with the next file
            return 60.0
        if now - self._last_sync >= SYNC_EVERY_SEC:
            self._last_sync = now
            self._sync = self._thread.submit(_sync, os.dup(self._files.inbox_fileno), self._filed_id)
            return SYNC_EVERY_SEC / 10
        return SYNC_EVERY_SEC - (now - self._last_sync)

    def _sweep(self, now: float, now_ms: int) -> float:
        """Deletes a slice of what is past its time; returns when to go on."""
        if now >= self._next_sweep:
            before_ms = now_ms - int(self.settings.keep_read_sec * 1000)
            deleted, outcomes = self._store.delete_ended(before_ms, SWEEP_SLICE, now_ms)
            self._untold += outcomes
            gone_ms = now_ms - int(self.settings.forget_agents_sec * 1000)
            is_left = self._store.forget_old(now_ms) or self._store.forget_agents(gone_ms, SWEEP_SLICE)
            is_left = is_left or bool(deleted)
            self._next_sweep = now + (SWEEP_PAUSE_SEC if is_left else self.settings.sweep_every_sec)
        return self._next_sweep - now

    def _fill_index(self, now: float) -> float:
        """Indexes a slice of what came in; returns when to go on."""
        if not self._unindexed:
            return 60.0
        if self._unindexed < INDEX_REST_MOST:
            self._next_indexing = max(self._next_indexing, self._last_mail + INDEX_QUIET_SEC)
        if now >= self._next_indexing:
            done = self._store.index_more()
            self._unindexed = max(1, self._unindexed - done) if done else 0
            self._next_indexing = now + INDEX_PAUSE_SEC
        return self._next_indexing - now if self._unindexed else 60.0

    def _settle_log(self) -> None:
        if self._checkpoint is None:
            if self._store.transactions.unsettled_bytes > CHECKPOINT_BYTES:
                self._store.transactions.unsettled_bytes = 0
                self._checkpoint = self._thread.submit(checkpoint, self._state_dir)
        elif self._checkpoint.done():
            done, self._checkpoint = self._checkpoint, None
            if self._result_or_exit(done) > RESTART_LOG_PAGES:
                self._store.transactions.settle_rest_of_log()

    def _result_or_exit(self, future: Future[Result]) -> Result:
        """Returns a thread's result; a failed fsync is the one error that nothing can be believed after.

        Raises:
            StoreFull, StoreFailed: a checkpoint found no room, or something in its way; the log still has everything.
        """
        try:
            return future.result()
        except sqlite3.Error as error:
            if not is_lost_write(error):
                is_no_room = is_full(error, self._state_dir)
                raise (StoreFull(str(error)) if is_no_room else StoreFailed(error)) from error
            self._exit_after_lost_write(error)
        except OSError as error:  # of syncfs
            self._exit_after_lost_write(error)

    def _exit_after_lost_write(self, error: Exception) -> NoReturn:
        log.error("fsync failed", error=str(error))
        note_lost_write(self._state_dir)
        os._exit(os.EX_IOERR)


def _sync(handle: int, number: int) -> int:
    try:
        sync_filesystem(handle)
    finally:
        os.close(handle)
    return number
