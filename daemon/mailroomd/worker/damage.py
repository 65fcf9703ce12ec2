"""damage — ends a worker, and the daemon with it, when the database is corrupted: a restart would not help.

Owns the sentence. Not here: what counts as corruption (`storage.database.connection`), what can be saved
(`mailroom doctor`).
"""

__all__ = ["refuse_damaged_database"]

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from mailroomd.model.settings import Settings
from mailroomd.storage.database.connection import DATABASE_NAME, is_damaged
from mailroomd.storage.database.transactions import StoreFailed
from mailroomd.worker.context import CannotStart

MAX_REASON_CHARS = 120  # of SQLite's text, which may quote damaged content of any length


@contextmanager
def refuse_damaged_database(settings: Settings) -> Generator[None]:
    """Turns an error of a corrupted database into CannotStart; every other error passes.

    Raises:
        CannotStart: the database is corrupted.
    """
    try:
        yield
    except (sqlite3.DatabaseError, StoreFailed) as error:
        shows_damage = error.is_of_damage if isinstance(error, StoreFailed) else is_damaged(error)
        if not shows_damage:
            raise
        raise CannotStart(
            f"Restarting will not help: the database {settings.state_dir / DATABASE_NAME} is corrupted "
            f"({_shortened(error)}). Run `mailroom doctor`; it says what can be saved, and how. "
            f"Unread mail is also in {settings.root / 'inbox'}, one file per message.",
            os.EX_CONFIG,
        ) from error


def _shortened(error: Exception) -> str:
    reason = "".join(char if char.isprintable() else "?" for char in str(error))
    return reason if len(reason) <= MAX_REASON_CHARS else f"{reason[:MAX_REASON_CHARS]}..."
