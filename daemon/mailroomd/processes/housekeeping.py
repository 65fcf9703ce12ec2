"""Housekeeping — what the command-queue does beside the commits that somebody waits for.

Owns the lazy writes (offered, last seen), the sync of the files' filesystem, the checkpoints and the forgetting of
keys, each with its timer. Slow system calls run in one thread; only the loop's own thread touches the store.
Not here: retries of files (`Filing`), the commits. Invariant: nothing here is awaited by a sender.
"""

__all__ = ["Housekeeping"]

import os
import sqlite3
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

from mailroomd.core.log import log
from mailroomd.model.commands import WriteOffered, WriteSeen
from mailroomd.storage.database import checkpoint, is_full, is_lost_write, note_lost_write
from mailroomd.storage.inbox_files import InboxFiles, sync_filesystem
from mailroomd.storage.message_store import MessageStore, StoreFailed, StoreFull

Result = TypeVar("Result")

LAZY_AFTER_SEC = 0.25  # offered and last-seen marks are gathered so long when no commit takes them along
SYNC_EVERY_SEC = 5.0  # of writing: what a power cut makes recovery write again
CHECKPOINT_BYTES = 4 << 20  # written since the last one: as much as SQLite's own default of 1,000 pages
RESTART_LOG_PAGES = 8000  # a log that outgrew the background checkpoints (32 MiB) is settled between two commits
LAZY_MOST = 10_000  # writes that wait while the disk is full; the oldest may be lost
FORGET_KEYS_EVERY_SEC = 60.0
LOOK_FOR_ROOM_EVERY_SEC = 1.0


class Housekeeping:
    """The command-queue's timers.

    Args:
        state_dir: where the database lies.
        store: its writer.
        files: the inbox directories.

    Attributes:
        lazy: writes without an fsync of their own; the next commit takes them along and clears the list.
    """

    def __init__(self, state_dir: Path, store: MessageStore, files: InboxFiles) -> None:
        self.lazy: list[WriteOffered | WriteSeen] = []
        self._state_dir = state_dir
        self._store = store
        self._files = files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="housekeeping")
        self._sync: Future[int] | None = None
        self._checkpoint: Future[int] | None = None
        self._filed_id = 0
        self._synced_id = 0
        self._lazy_since = 0.0
        self._last_sync = 0.0
        self._last_forgetting = 0.0
        self._last_look = 0.0

    def gather(self, writes: Iterable[WriteOffered | WriteSeen]) -> None:
        """Takes lazy writes."""
        self.lazy.extend(writes)
        del self.lazy[:-LAZY_MOST]

    def note_filed(self, number: int) -> None:
        """Takes note that every file up to this id is written."""
        self._filed_id = number

    def is_time_to_look_for_room(self, now: float) -> bool:
        """Returns whether a full disk should be looked at again."""
        if now - self._last_look < LOOK_FOR_ROOM_EVERY_SEC:
            return False
        self._last_look = now
        return True

    def run(self, now: float, now_ms: int) -> float:
        """Does what is due; returns for how many seconds nothing will be.

        Raises:
            StoreFull, StoreFailed: from the store; nothing was written.
        """
        pause = min(self._write_lazily(now, now_ms), self._sync_files(now), 60.0)
        self._settle_log()
        if now - self._last_forgetting > FORGET_KEYS_EVERY_SEC and not self._store.forget_old_keys(now_ms):
            self._last_forgetting = now
        return pause

    def finish(self, now_ms: int) -> None:
        """Makes everything durable, at a clean stop."""
        self._thread.shutdown(wait=True)
        sync_filesystem(self._files.inbox_fileno)
        self._store.commit_lazily(self.lazy, self._filed_id, now_ms)
        self.lazy.clear()

    def _write_lazily(self, now: float, now_ms: int) -> float:
        if not self.lazy:
            self._lazy_since = 0.0
            return 60.0
        self._lazy_since = self._lazy_since or now
        if now - self._lazy_since < LAZY_AFTER_SEC:
            return LAZY_AFTER_SEC - (now - self._lazy_since)
        self._store.commit_lazily(self.lazy, 0, now_ms)
        self.lazy.clear()
        self._lazy_since = 0.0
        return 60.0

    def _sync_files(self, now: float) -> float:
        if self._sync is not None and self._sync.done():
            self._synced_id = self._result_or_exit(self._sync)
            self._store.commit_lazily((), self._synced_id, 0)
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

    def _settle_log(self) -> None:
        if self._checkpoint is None:
            if self._store.unsettled_bytes > CHECKPOINT_BYTES:
                self._store.unsettled_bytes = 0
                self._checkpoint = self._thread.submit(checkpoint, self._state_dir)
        elif self._checkpoint.done():
            done, self._checkpoint = self._checkpoint, None
            if self._result_or_exit(done) > RESTART_LOG_PAGES:
                self._store.settle_rest_of_log()

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
