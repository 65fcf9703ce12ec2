"""Printable text — makes text of other agents safe to show in a terminal or to a model.

Control characters could move the cursor, change colors or answer in the user's place; bidirectional characters could
reorder a line; invisible characters hide text from people but not from models. All of them are shown as escapes. Inside
an emoji two invisible characters have a visible effect and are kept: the joiner and the variation selector.
A model is also misled by the tags that its own program writes around reminders, notices and mail of its team: a sender
that closes such a tag would go on in the program's voice. For a model they get a backslash (`defused`).
"""

__all__ = ["defused", "defused_json", "json_escaped", "printable", "printable_line"]

import re

# Source: Unicode Character Database 16: categories Cc, Cs, Zl and Zp; Cf without Prepended_Concatenation_Mark;
# Default_Ignorable_Code_Point (DerivedCoreProperties.txt). Explicit, since looking each up would take 0.2 s.
_HIDDEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_EMOJI = (
    "\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    "\u3297\u3299\U0001f000-\U0001faff"
)
_KEYCAP = "#*0123456789"
_JOINER, _SELECTORS, _ENCLOSING_KEYCAP = "\u200d", "\ufe0e\ufe0f", "\u20e3"

_IN_LINE = re.compile(f"[{_HIDDEN}]")
_IN_TEXT = re.compile(f"(?![\n\t])[{_HIDDEN}]")
_IS_EMOJI = re.compile(f"[{_EMOJI}]")
_TAG = re.compile(
    r"<(?=\s*+/?+\s*+(?:system[-_]?reminder|task[-_]?notification|teammate[-_]?message|channel|(?:local-)?command-[\w-]+|"
    r"user-prompt-submit-hook|function_calls|antml:\w+)(?![\w-]))",
    re.IGNORECASE,
)


def printable(text: str) -> str:
    """Returns text of several lines with every dangerous character escaped, for example as \\x1b."""
    return _IN_TEXT.sub(_escape, text)


def defused(text: str) -> str:
    """Returns printable text in which a model finds no tag of its own program: `<\\/system-reminder>`."""
    return _TAG.sub(lambda match: f"{match[0]}\\", printable(text))


def defused_json(json: str) -> str:
    """Returns JSON with the same meaning, in which a model finds no tag of its own program."""
    return _TAG.sub("\\\\u003c", json)


def printable_line(text: str) -> str:
    """Returns text as a single line: newlines and tabs are escaped too."""
    return _IN_LINE.sub(_escape, text)


def json_escaped(json: str) -> str:
    """Returns a line of JSON with the same meaning, in which every dangerous character is a JSON escape."""
    return _IN_LINE.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _utf16_units(match[0])), json)


def _escape(match: "re.Match[str]") -> str:
    char = match[0]
    return char if _is_part_of_emoji(match.string, match.start()) else char.encode("unicode_escape").decode()


def _is_part_of_emoji(text: str, index: int) -> bool:
    before, after = text[max(0, index - 2) : index], text[index + 1 : index + 2]
    if text[index] in _SELECTORS:
        is_keycap = before[-1:] in _KEYCAP and before != "" and after == _ENCLOSING_KEYCAP
        return is_keycap or _IS_EMOJI.match(before[-1:]) is not None
    if text[index] == _JOINER:
        base = before[:-1] if before[-1:] in _SELECTORS and before else before[-1:]
        return _IS_EMOJI.match(base[-1:]) is not None and _IS_EMOJI.match(after) is not None
    return False


def _utf16_units(char: str) -> "list[int]":
    encoded = char.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[start : start + 2]) for start in range(0, len(encoded), 2)]
