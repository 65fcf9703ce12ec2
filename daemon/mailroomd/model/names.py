"""Names — the rule for the names of agents, sessions and mailboxes.

Source: pipeline.md: 1–128 characters of A–Z a–z 0–9 . _ -, not starting with a dot, at most one @ (agent@team).
Invariant: a name that passes is one path component that is neither hidden nor a way out of a directory.
"""

__all__ = ["MAX_NAME_BYTES", "NAME_RULE", "is_name"]

import re

MAX_NAME_BYTES = 128
NAME_RULE = (
    "a name has 1 to 128 characters of A-Z a-z 0-9 . _ -, does not start with a dot, and has at most one @ (agent@team)"
)

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:@[A-Za-z0-9._-]+)?")


def is_name(text: str) -> bool:
    """Returns whether the text may name a mailbox."""
    return len(text) <= MAX_NAME_BYTES and _NAME.fullmatch(text) is not None
