"""Opening — opens the database and the directories that the command-queue cannot work without.

Owns the sentences and exit codes of a start that is refused. Not here: recovery (`command_queue.recovery`).
"""

__all__ = ["adopt_root", "open_in_root", "open_store"]

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mailroomd.command_queue.disk_guard import FULL_SENTENCE
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import DATABASE_NAME, DatabaseTooNew, is_damaged
from mailroomd.storage.database.foreign_objects import ForeignObject
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.database.restore import take_restored
from mailroomd.storage.database.transactions import StoreFull
from mailroomd.worker.context import CannotStart, CannotStartYet, WorkerContext
from mailroomd.worker.shortage import is_shortage

LOCK_NAME = "mailroomd.lock"  # in the state directory; the supervisor holds it
Opened = TypeVar("Opened")

LASTING_ERRORS = frozenset(
    {errno.EACCES, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)
"""Errors of a directory that only an operator can end."""

PASSING_ERRORS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM})
"""Errors of a database that end without an operator, even at the first start."""


def open_in_root(context: WorkerContext, opener: Callable[[Path], Opened]) -> Opened:
    """Opens one of the root's directories.

    Raises:
        CannotStart: it cannot be used.
        CannotStartYet: it cannot be used at the moment.
    """
    root = context.settings.root
    try:
        return opener(root)
    except OSError as error:
        reason = f"{error.filename or root} cannot be used: {error.strerror}"
        is_passing = is_shortage(error) or (context.epoch > 1 and error.errno not in LASTING_ERRORS)
        if is_passing:
            raise CannotStartYet(reason) from error
        raise CannotStart(
            f"{reason} (links are not followed). Give a --root that the daemon may write to.", os.EX_CANTCREAT
        ) from error


def open_store(context: WorkerContext) -> MessageStore:
    """Puts a restored backup in place, if there is one, and opens the database.

    Raises:
        CannotStart: the database cannot be opened, a newer daemon wrote it, or another program changed its schema.
        CannotStartYet: it cannot be opened at the moment: it is locked, or it could be opened before.
        sqlite3.DatabaseError: it is damaged.
    """
    state_dir = context.settings.state_dir
    try:
        take_restored(state_dir, context.beat)
        store = MessageStore(state_dir, context.beat, lambda: context.settings.max_forward_bytes)
    except (DatabaseTooNew, ForeignObject) as error:
        raise CannotStart(str(error)) from error
    except sqlite3.DatabaseError as error:
        if is_damaged(error):
            raise
        if _is_passing(error, state_dir, context.epoch):
            raise CannotStartYet(f"{state_dir}/mailroom.db cannot be opened: {error}") from error
        raise CannotStart(
            f"{state_dir}/mailroom.db cannot be opened: {error}. Check the disk and the permissions of the directory.",
            os.EX_CANTCREAT,
        ) from error
    if context.lock is not None:
        store.transactions.file_guard.watch(state_dir / LOCK_NAME, context.lock.descriptor)
    return store


def _is_passing(error: sqlite3.Error, state_dir: Path, epoch: int) -> bool:
    """Returns whether a database that cannot be opened may be opened later, without an operator."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    path = state_dir / DATABASE_NAME
    is_usable = path.is_file() and all(os.access(one, os.R_OK | os.W_OK) for one in (state_dir, path))
    return code in PASSING_ERRORS or (epoch > 1 and is_usable)


def adopt_root(store: MessageStore, root: Path) -> None:
    """Records which root the inbox files are in.

    Raises:
        CannotStart: the disk has no space for it.
    """
    try:
        if store.adopt_root(root):
            log.warning("inbox root changed since the last start; rewriting all inbox files", root=str(root))
    except StoreFull as error:
        raise CannotStart(f"{FULL_SENTENCE} (the first start needs some)", os.EX_CANTCREAT) from error
