"""suspect_commands — tells a transaction that failed of one of its commands from one that the database refused.

Owns the conversion of exceptions that nobody expected, and their one traceback in the log. Not here: finding the
command (`Committer`, `unknown_mail`).
"""

__all__ = ["InputFailed", "failing_of_input"]

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from mailroomd.core.suspect_input import NOT_OF_INPUT
from mailroomd.observability.log import log
from mailroomd.storage.database.connection import is_of_input
from mailroomd.storage.database.transactions import StoreFailed, StoreFull

TRACEBACKS_MOST = 20  # different exceptions that are logged with their traceback
_logged: set[str] = set()


class InputFailed(Exception):  # noqa: N818 - a condition, not a defect
    """A transaction was rolled back because of something in it; the text names the exception, not its values."""


@contextmanager
def failing_of_input() -> Generator[None]:
    """Wraps a transaction; a failure of the disk or of the database passes as it is.

    Raises:
        InputFailed: anything else was raised.
    """
    try:
        yield
    except StoreFailed as error:
        if not error.is_of_input:
            raise
        raise _input_failed(error.__cause__ or error) from error
    except sqlite3.Error as error:
        if not is_of_input(error):
            raise
        raise _input_failed(error) from error
    except (StoreFull, *NOT_OF_INPUT):
        raise
    except Exception as error:
        raise _input_failed(error) from error


def _input_failed(error: BaseException) -> InputFailed:
    kind = type(error).__name__
    if kind not in _logged and len(_logged) < TRACEBACKS_MOST:
        _logged.add(kind)
        log.exception("transaction failed because of its input")
    return InputFailed(f"internal error, {kind}")
