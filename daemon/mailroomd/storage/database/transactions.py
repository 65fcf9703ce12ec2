"""Transactions — the writer's transactions on `mailroom.db`: durable ones, and lazy ones that skip the fsync.

Owns the writer's connection, the settling of the log that a crash left, and the sorting of failures into "full" and
"failed". Not here: what is written (`MessageStore` and its parts). Invariant: a transaction is whole or absent;
nothing is appended to a log that is in doubt.
"""

__all__ = ["StoreFailed", "StoreFull", "Transactions"]

import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mailroomd.storage.database.connection import (
    DATABASE_NAME,
    LogInUse,
    clear_lost_write,
    has_lost_write,
    is_damaged,
    is_full,
    is_lost_write,
    is_of_input,
    mark_lost_write,
    open_store,
    set_lazy,
    settle_log,
)
from mailroomd.storage.database.file_guard import FileGuard

COMMIT_LOG_BYTES = 10 * 4096  # that a transaction adds to the log, about: the pages that each one touches


class StoreFull(Exception):  # noqa: N818 - a condition, not a defect
    """The disk is full: the transaction was rolled back."""


class StoreFailed(Exception):  # noqa: N818 - a condition, not a defect
    """The transaction was rolled back for another reason.

    Attributes:
        fatal: an fsync failed, so the database cannot be trusted any more.
        is_of_input: a value or a row was refused, not the database: other commands may be stored.
        is_of_damage: the database is corrupted.
    """

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.fatal = is_lost_write(cause)
        self.is_of_input = is_of_input(cause)
        self.is_of_damage = is_damaged(cause)


class Transactions:
    """Begins and ends the writer's transactions.

    Args:
        state_dir: where `mailroom.db` is.
        beat: called while an old database is upgraded, for the heartbeat.

    Attributes:
        connection: the writer's.
        unsettled_bytes: about how much was written to the log; the checkpointer resets it.
        last_sync_ns: how long the last COMMIT took: writing the log, and its fsync.
        file_guard: knows which files the connection has open.

    Raises:
        DatabaseTooNew, ForeignObject, sqlite3.Error: as in `open_store`.
        StoreFailed: an fsync failed before, and the log that it left cannot be settled.
    """

    def __init__(self, state_dir: Path, beat: Callable[[], None] = lambda: None) -> None:
        self._state_dir = state_dir
        self._is_settled = False
        self.connection = open_store(state_dir, beat)
        self.unsettled_bytes = 0
        self.last_sync_ns = 0
        try:
            self._settle_log()
        except (StoreFull, StoreFailed) as failure:
            if isinstance(failure, StoreFailed) and failure.fatal:
                self.connection.close()
                raise
            # otherwise every transaction tries again, and mail can be read meanwhile
        self.file_guard = FileGuard(Path(f"{state_dir / DATABASE_NAME}{suffix}") for suffix in ("", "-wal", "-shm"))

    def close(self) -> None:
        """Folds the log into the database and closes it."""
        with suppress(sqlite3.Error):  # a backup reads it, or the disk is full: the next start settles it
            settle_log(self.connection)
        self.connection.close()

    @contextmanager
    def durable(self) -> Generator[None, None, None]:
        """Commits at the end of the block, with an fsync; rolls back if the block raised.

        Raises:
            StoreFull, StoreFailed: nothing was written.
        """
        self._settle_log()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            committing_ns = time.monotonic_ns()
            self.connection.execute("COMMIT")
            self.last_sync_ns = time.monotonic_ns() - committing_ns
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._failure(error) from error
            raise
        self.unsettled_bytes += COMMIT_LOG_BYTES

    @contextmanager
    def lazy(self) -> Generator[None, None, None]:
        """Like `durable`, without the fsync: for changes that a power cut may undo."""
        set_lazy(self.connection, lazy=True)
        try:
            with self.durable():
                yield
        finally:
            set_lazy(self.connection, lazy=False)

    def used_bytes(self) -> int:
        """Returns the size of the database without its free pages."""
        read = self.connection.execute
        pages, free, page_bytes = (
            read(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * page_bytes

    def settle_rest_of_log(self) -> None:
        """Finishes a checkpoint between two commits, so that the log is reused from its beginning."""
        self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _settle_log(self) -> None:
        """Settles the log that a crash left, before anything is appended to it.

        A reader may prevent that. It matters only after a failed fsync, when the log itself is in doubt.

        Raises:
            StoreFull, StoreFailed: it is not settled.
        """
        if self._is_settled:
            return
        try:
            settle_log(self.connection)
        except LogInUse as error:
            if has_lost_write(self._state_dir):
                raise StoreFailed(error) from error
        except sqlite3.Error as error:
            raise self._failure(error) from error
        else:
            clear_lost_write(self._state_dir)
        self._is_settled = True

    def _failure(self, error: sqlite3.Error) -> StoreFull | StoreFailed:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_AUTH:  # see `deny_triggers`
            error = sqlite3.DatabaseError("it has a trigger or view that is not Mailroom's: run `mailroom doctor`")
        if is_full(error, self._state_dir):
            return StoreFull(str(error))
        failed = StoreFailed(error)
        if failed.fatal:  # recorded here, whatever becomes of this process
            mark_lost_write(self._state_dir)
        return failed
