"""home — the user's home directory, which a user need not have.

A container may run with an arbitrary user id that has no entry in the user database, and with HOME unset. Only default
paths need a home directory; their users decide what to do without one.
"""

__all__ = ["NO_HOME", "home_directory"]

import os
import pwd
from pathlib import Path

NO_HOME = "there is no home directory: HOME is not set, and the user has no entry in the user database"


def home_directory() -> Path | None:
    """Returns $HOME, otherwise the home directory in the user database, otherwise None; always an absolute path."""
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(home) if home.startswith("/") else None
