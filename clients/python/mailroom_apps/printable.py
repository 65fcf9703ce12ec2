"""Printable text — makes text of other agents safe to show in a terminal or to a model.

Control characters could move the cursor, change colors or answer in the user's place; bidirectional characters could
reorder a line; tag characters are invisible to people but not to models. All of them are shown as escapes. JSON output
does not pass through here.
"""

__all__ = ["printable", "printable_line"]

import unicodedata

_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # controls, surrogates, line and paragraph separators
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_TAGS = frozenset(map(chr, range(0xE0000, 0xE0080)))


def printable(text: str) -> str:
    """Returns text of several lines with every dangerous character escaped, for example as \\x1b."""
    return "".join(char if char in "\n\t" else _escaped(char) for char in text)


def printable_line(text: str) -> str:
    """Returns text as a single line: newlines and tabs are escaped too."""
    return "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    is_dangerous = char in _BIDI or char in _TAGS or unicodedata.category(char) in _HIDDEN
    return char.encode("unicode_escape").decode() if is_dangerous else char
