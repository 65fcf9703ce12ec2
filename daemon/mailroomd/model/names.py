"""Names — the rule for the names of agents, sessions and mailboxes.

Source: pipeline.md: 1–128 characters of A–Z a–z 0–9 . _ -, not starting with a dot, at most one @ (agent@team).
The team names a directory of its own, so the rule holds for both sides of the @: `a@..` would be a way out.
Invariant: a name that passes, and each side of its @, is one path component that is neither hidden nor a way out.
"""

__all__ = ["MAX_NAME_BYTES", "NAME_RULE", "is_name"]

import re

MAX_NAME_BYTES = 128
NAME_RULE = (
    "a name has 1 to 128 characters of A-Z a-z 0-9 . _ - and at most one @ (agent@team); "
    "neither side of it starts with a dot"
)

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:@(?!\.)[A-Za-z0-9._-]+)?")


def is_name(text: str) -> bool:
    """Returns whether the text may name a mailbox."""
    return len(text) <= MAX_NAME_BYTES and _NAME.fullmatch(text) is not None
