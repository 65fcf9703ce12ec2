"""Stderr — error sentences that cannot fail and cannot write control characters to a terminal."""

__all__ = ["print_error"]

import os


def print_error(command: str, sentence: str) -> None:
    """Writes a sentence to stderr, prefixed with the name of the command."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in sentence)
    try:
        os.write(2, f"mailroom {command}: {line}\n".encode(errors="backslashreplace"))
    except OSError:  # stderr is closed
        return
