"""escaping — makes text from outside safe for one line of a log.

File names, names in requests and error messages may contain line separators, terminal escapes and characters that
change the direction of text. Written as they are, they could look like an entry of their own.
"""

__all__ = ["escape", "escape_json"]

import json


def escape(text: str) -> str:
    """Returns text with every unprintable character as a Python escape (line feed as `\\n`, U+2028 as `\\u2028`)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def escape_json(line: str) -> str:
    """Returns a line of JSON with every unprintable character as a JSON escape; its meaning does not change."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)
