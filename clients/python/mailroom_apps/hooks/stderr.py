"""Complaints — sentences on stderr that can't fail, and can't write anything else to a terminal."""

__all__ = ["complain"]

import os


def complain(who: str, sentence: str) -> None:
    """Writes a sentence to stderr, under the name of the command that says it."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in sentence)
    try:
        os.write(2, f"mailroom {who}: {line}\n".encode(errors="backslashreplace"))
    except OSError:  # nobody listens
        return
