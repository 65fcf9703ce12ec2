"""Opening — opens the database and the directories that the command-queue cannot work without.

Owns the sentences and exit codes of a start that is refused. Not here: recovery (`command_queue.recovery`).
"""

__all__ = ["adopt_root", "open_in_root", "open_store"]

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mailroomd.command_queue.disk_guard import FULL_SENTENCE
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import DatabaseTooNew, is_damaged
from mailroomd.storage.database.foreign_objects import ForeignObject
from mailroomd.storage.database.message_store import MessageStore
from mailroomd.storage.database.restore import take_restored
from mailroomd.storage.database.transactions import StoreFull
from mailroomd.worker.context import CannotStart, WorkerContext

LOCK_NAME = "mailroomd.lock"  # in the state directory; the supervisor holds it
Opened = TypeVar("Opened")


def open_in_root(root: Path, opener: Callable[[Path], Opened]) -> Opened:
    """Opens one of the root's directories.

    Raises:
        CannotStart: it cannot be used.
    """
    try:
        return opener(root)
    except OSError as error:
        raise CannotStart(
            f"{error.filename or root} cannot be used: {error.strerror} (links are not followed). "
            "Give a --root that the daemon may write to.",
            os.EX_CANTCREAT,
        ) from error


def open_store(context: WorkerContext) -> MessageStore:
    """Puts a restored backup in place, if there is one, and opens the database.

    Raises:
        CannotStart: the database cannot be opened, a newer daemon wrote it, or another program changed its schema.
        sqlite3.DatabaseError: it is damaged.
    """
    state_dir = context.settings.state_dir
    try:
        take_restored(state_dir, context.beat)
        store = MessageStore(state_dir, context.beat)
    except (DatabaseTooNew, ForeignObject) as error:
        raise CannotStart(str(error)) from error
    except sqlite3.DatabaseError as error:
        if is_damaged(error):
            raise
        raise CannotStart(
            f"{state_dir}/mailroom.db cannot be opened: {error}. Check the disk and the permissions of the directory.",
            os.EX_CANTCREAT,
        ) from error
    if context.lock is not None:
        store.transactions.file_guard.watch(state_dir / LOCK_NAME, context.lock.descriptor)
    return store


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
