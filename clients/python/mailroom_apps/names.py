"""Names — the default sender, members of teams, and suggestions for misspelled names."""

__all__ = ["is_member", "login_name", "near_names"]

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


def is_member(name: str, team: str | None) -> bool:
    """Returns whether a name is that of a member of a team, MEMBER@TEAM."""
    return team is not None and name.endswith(f"@{team}")
