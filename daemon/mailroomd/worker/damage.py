"""damage — a database that is damaged ends a worker with a sentence, and the daemon with it: starting again is no help.

Owns the sentence. Not here: what counts as damage (`storage.database.connection`), what can be saved (`mailroom doctor`).
"""

__all__ = ["telling_damage"]

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from mailroomd.model.settings import Settings
from mailroomd.storage.database.connection import DATABASE_NAME, is_damaged
from mailroomd.worker.context import CannotStart

MOST_CHARS = 120  # of SQLite's words: they may quote a text, damaged, of any length


@contextmanager
def telling_damage(settings: Settings) -> Generator[None]:
    """Makes a refusal to start of what shows that the database is damaged; everything else passes.

    Raises:
        CannotStart: it is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise
        raise CannotStart(
            f"{settings.state_dir / DATABASE_NAME} is damaged ({_shortly(error)}). Run `mailroom doctor`: "
            "it says what can be saved, and how. Unread mail is also in "
            f"{settings.root / 'inbox'}, a file for each message.",
            os.EX_CONFIG,
        ) from error


def _shortly(error: sqlite3.Error) -> str:
    said = "".join(one if one.isprintable() else "?" for one in str(error))
    return said if len(said) <= MOST_CHARS else f"{said[:MOST_CHARS]}..."
