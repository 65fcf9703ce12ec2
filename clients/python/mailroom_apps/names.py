"""Names — the default sender, and suggestions for misspelled names."""

__all__ = ["login_name", "near_names"]

import getpass
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAME_CHARS = 128


def login_name() -> str:
    """Returns the login name of the user, converted to a valid agent name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without an account
        name = ""
    valid = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".")[:MAX_NAME_CHARS]
    return valid or f"uid-{os.getuid()}"


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Returns up to three known names that are similar to a name."""
    return get_close_matches(name, sorted(set(known) - {name}), n=3)
