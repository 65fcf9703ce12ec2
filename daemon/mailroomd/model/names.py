"""Names — the rule for names of agents, sessions and mailboxes.

A name becomes part of a path, and a team (`agent@team`) names a directory of its own, so the rule applies to both sides
of the @: `a@..` would lead out of the root.
Invariant: a valid name, and each side of its @, is one path component that is neither hidden nor leads elsewhere.
"""

__all__ = ["MAX_NAME_BYTES", "NAME_RULE", "is_name"]

import re

MAX_NAME_BYTES = 128
NAME_RULE = (
    "a name has 1 to 128 characters from A-Z a-z 0-9 . _ - and at most one @ (agent@team); "
    "neither part starts with a dot"
)

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:@(?!\.)[A-Za-z0-9._-]+)?")


def is_name(text: str) -> bool:
    """Returns whether the text is a valid name."""
    return len(text) <= MAX_NAME_BYTES and _NAME.fullmatch(text) is not None
