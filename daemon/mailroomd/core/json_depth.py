"""JsonDepth — decides whether JSON is nested too deeply for the clients that will parse it. Pure."""

__all__ = ["is_deeper"]

import re

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def is_deeper(encoded: bytes, levels: int) -> bool:
    """Returns whether valid JSON has more levels. It works on the text: walking five million values takes a second."""
    if encoded.count(b"[") + encoded.count(b"{") <= levels:
        return False
    brackets = _STRING.sub(b"", encoded).translate(_AS_SQUARE, _NO_BRACKETS)
    for _ in range(levels):
        brackets = brackets.replace(b"[]", b"")  # the innermost of each branch
    return bool(brackets)
