"""open_read_only — opens any database file so that nothing in it can be changed.

Reading beside the daemon blocks no writer; only the write-ahead log cannot shrink meanwhile.
"""

__all__ = ["open_read_only"]

import sqlite3
from pathlib import Path

_BUSY_TIMEOUT_SEC = 5.0


def open_read_only(file: Path) -> sqlite3.Connection:
    """Opens a database for reading.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_SEC)
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA trusted_schema = OFF")  # another program may have added a view
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except UnicodeDecodeError as error:  # SQLite's message about a damaged schema quotes the damaged text
        connection.close()
        raise sqlite3.DatabaseError("the schema is not valid text") from error
    except sqlite3.Error:
        connection.close()
        raise
    return connection
