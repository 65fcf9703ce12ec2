"""JsonText — a JSON document that is edited in place: everything that is not edited stays, byte for byte.

Comments and trailing commas are accepted and kept. New entries follow the document's own indentation and line ends.
Own code, because no maintained Python library edits JSON in place. Every edit parses its result. Where a value has no
comments, the standard library parses it, and its spans are found only if it is edited: files may have many megabytes.
A duplicate key is refused: programs disagree about which one counts.
Invariant: a node's span is its exact position in the text; each edit returns a new document.
"""

__all__ = ["JsonError", "JsonText"]

import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Key: TypeAlias = str | int

_TRIVIA = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9A-Za-z.])|(?:true|false|null)\b")
_DEFAULT_INDENT = "  "
_MAX_DIGITS = 1000  # of an integer that is read as a number; Python refuses longer ones
_QUICK_DEPTHS = range(1, 5)  # deeper values with a comment in them are not tried again and again


class JsonError(ValueError):
    """The text is not valid JSON, even with comments and trailing commas, or an object has a key twice."""


@dataclass(slots=True)
class _Node:
    """A value, its span and its entries."""

    start: int
    end: int = 0
    value: Any = None
    children: "list[_Child]" = field(default_factory=list["_Child"])
    is_object: bool = False
    is_quick: bool = False  # its children have not been looked at


@dataclass(slots=True)
class _Child:
    start: int  # of its key in an object, of its value in an array
    key: Key
    node: _Node
    comma: int = -1  # offset of the comma after it; -1: there is none


class JsonText:
    """One document.

    Args:
        text: JSON; comments and trailing commas are allowed.

    Raises:
        JsonError: it is not valid.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._root, end = _value(text, _skip(text, 0), 0)
        except RecursionError as error:
            raise JsonError("it is nested too deeply") from error
        if _skip(text, end) != len(text):
            raise _error(text, _skip(text, end), "the end")

    @property
    def value(self) -> Any:
        """The document as plain values."""
        return self._root.value

    def get(self, *path: Key) -> Any:
        """Returns the value at a path; None if there is none."""
        node = self._find(path)
        return None if node is None else node.value

    def has(self, *path: Key) -> bool:
        """Returns whether there is a value at a path, null included."""
        return self._find(path) is not None

    def added(self, path: tuple[Key, ...], key: str | None, value: object) -> "JsonText":
        """Returns the document with a new last entry.

        Args:
            path: of an existing object or array.
            key: the entry's key in an object; None in an array.
            value: JSON-ready.
        """
        parent = self._existing(path)
        prefix = "" if key is None else f"{json.dumps(key, ensure_ascii=False)}: "
        if not self._is_multiline(path):
            separator = ", " if parent.children else ""
            return self._inserted(path, separator, prefix + json.dumps(value, ensure_ascii=False))
        outer = self._line_indent(parent.start)
        inner = self._child_indent(parent, outer)
        dumped = json.dumps(value, ensure_ascii=False, indent=self._unit()).replace("\n", self._eol() + inner)
        separator = "," if parent.children else ""
        entry = self._eol() + inner + prefix + dumped
        is_bare = not parent.children and not self._has_break(parent)
        return self._inserted(path, separator, entry, self._eol() + outer if is_bare else "")

    def replaced(self, path: tuple[Key, ...], value: object) -> "JsonText":
        """Returns the document with another value at a path, on one line.

        Args:
            path: of an existing value.
            value: JSON-ready.
        """
        node = self._existing(path)
        return JsonText(self.text[: node.start] + json.dumps(value, ensure_ascii=False) + self.text[node.end :])

    def removed(self, path: tuple[Key, ...]) -> "JsonText":
        """Returns the document without the entry at a path, its comma and the line that would be left empty."""
        parent = self._existing(path[:-1])
        index = next(index for index, child in enumerate(parent.children) if child.key == path[-1])
        child = parent.children[index]
        spans = [(child.start, child.node.end)]
        if child.comma >= 0:
            spans.append((child.comma, child.comma + 1))
        elif index:
            comma = parent.children[index - 1].comma
            spans.append((comma, comma + 1))
        text = self.text
        for start, end in sorted(_joined(text, spans), reverse=True):
            text = _cut(text, start, end)
        if len(parent.children) == 1:
            text = _without_blank_inside(text, parent.start)
        return JsonText(text)

    def _inserted(self, path: tuple[Key, ...], separator: str, entry: str, ending: str = "") -> "JsonText":
        parent = self._existing(path)
        text, end = self.text, parent.end - 1
        offset = len(text[:end].rstrip(" \t\r\n"))
        if text[offset - 1] in "{[" and not self._is_multiline(path):
            offset = end
        if parent.children and (last := parent.children[-1]).comma < 0:
            last_end = last.node.end
            return JsonText(text[:last_end] + separator + text[last_end:offset] + entry + ending + text[offset:])
        if parent.children:  # the entries end with a comma, and so does the new one
            entry = f"{' ' if separator == ', ' else ''}{entry},"
        return JsonText(text[:offset] + entry + ending + text[offset:])

    def _find(self, path: tuple[Key, ...]) -> _Node | None:
        node = self._root
        for key in path:
            matching = [child.node for child in node.children if child.key == key]
            if not matching:
                return None
            node = matching[0]
            if node.is_quick:
                node.is_quick = False
                _children(self.text, node, 0)
        return node

    def _existing(self, path: tuple[Key, ...]) -> _Node:
        node = self._find(path)
        if node is None:
            raise KeyError(path)
        return node

    def _is_multiline(self, path: tuple[Key, ...]) -> bool:
        """Returns whether new entries at a path get lines of their own: as those there, or as those around it."""
        node = self._existing(path)
        if node.children:
            return "\n" in self.text[node.start : node.end]
        return self._is_multiline(path[:-1]) if path else True

    def _has_break(self, node: _Node) -> bool:
        """Returns whether the closing bracket is on a line of its own."""
        inside = self.text[node.start + 1 : node.end - 1]
        return "\n" in inside[len(inside.rstrip(" \t\r\n")) :]

    def _child_indent(self, node: _Node, outer: str) -> str:
        if node.children and "\n" in self.text[node.start : node.children[-1].start]:
            return self._line_indent(node.children[-1].start)
        return outer + self._unit()

    def _line_indent(self, offset: int) -> str:
        line = self.text[self.text.rfind("\n", 0, offset) + 1 : offset]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _unit(self) -> str:
        indented = re.search(r"\n([ \t]+)\S", self.text)
        return indented[1] if indented else _DEFAULT_INDENT

    def _eol(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"


def _cut(text: str, start: int, end: int) -> str:
    """Returns the text without a span, and without the white space that would be left around it."""
    before, rest = text[:start].rstrip(" \t"), text[end:].lstrip(" \t")
    if rest[:1] in ("}", "]"):
        return before.rstrip("\r\n \t") + text[end:]
    if before.endswith("\n"):
        if not rest or rest[0] in "\r\n":  # nothing else remains on its line
            return before.removesuffix("\n").removesuffix("\r") + rest
        return text[:start] + rest
    return (before if rest[:1] == "," else text[:start]) + text[end:]


def _joined(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merges two spans with only white space between them, so that the white space is removed, too."""
    if len(spans) == 2:
        (first, first_end), (second, second_end) = sorted(spans)
        if not text[first_end:second].strip():
            return [(first, second_end)]
    return spans


def _without_blank_inside(text: str, start: int) -> str:
    """Returns the text with the white space removed from an empty pair of brackets."""
    rest = text[start + 1 :]
    left = rest.lstrip(" \t\r\n")
    return text[: start + 1] + left if left[:1] in ("}", "]") else text


def _value(text: str, offset: int, depth: int) -> tuple[_Node, int]:
    node = _Node(offset)
    match text[offset : offset + 1]:
        case "{" | "[":
            node.is_object = text[offset] == "{"
            if depth in _QUICK_DEPTHS and _parse_quickly(text, node):
                return node, node.end
            node.end = _children(text, node, depth)
            pairs = [(child.key, child.node.value) for child in node.children]
            node.value = dict(pairs) if node.is_object else [value for _, value in pairs]
        case '"':
            node.value, node.end = _string(text, offset)
        case _:
            scalar = _SCALAR.match(text, offset)
            if scalar is None:
                raise _error(text, offset, "a value")
            node.value, node.end = _DECODER.decode(scalar[0]), scalar.end()
    return node, node.end


def _parse_quickly(text: str, node: _Node) -> bool:
    """Parses a value by the standard library; returns whether it is plain JSON."""
    try:
        node.value, node.end = _DECODER.raw_decode(text, node.start)
    except (ValueError, RecursionError):  # our own parser says what is wrong, or accepts it
        return False
    node.is_quick = True
    return True


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError
    return entries


def _no_constant(_: str) -> float:
    raise ValueError


_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_no_constant, object_pairs_hook=_unique)


def _children(text: str, node: _Node, depth: int) -> int:
    closing = "}" if node.is_object else "]"
    offset = _skip(text, node.start + 1)
    keys = set[Key]()
    while text[offset : offset + 1] != closing:
        if node.children and node.children[-1].comma < 0:
            raise _error(text, offset, f"',' or '{closing}'")
        child = _Child(offset, len(node.children), node)
        if node.is_object:
            child.key, offset = _string(text, offset)
            if child.key in keys:
                raise JsonError(f"the key {child.key!r} occurs twice (line {_line_of(text, child.start)})")
            keys.add(child.key)
            offset = _skip(text, offset)
            if text[offset : offset + 1] != ":":
                raise _error(text, offset, "':'")
            offset = _skip(text, offset + 1)
        child.node, offset = _value(text, offset, depth + 1)
        node.children.append(child)
        offset = _skip(text, offset)
        if text[offset : offset + 1] == ",":
            child.comma = offset
            offset = _skip(text, offset + 1)
    return offset + 1


def _string(text: str, offset: int) -> tuple[str, int]:
    if text[offset : offset + 1] != '"':
        raise _error(text, offset, "a string")
    try:
        return _DECODER.raw_decode(text, offset)
    except ValueError as error:
        raise _error(text, offset, "a complete string") from error


def _skip(text: str, offset: int) -> int:
    trivia = _TRIVIA.match(text, offset)
    return trivia.end() if trivia else offset


def _error(text: str, offset: int, expected: str) -> JsonError:
    # Not the text that is there: it can be part of a secret.
    return JsonError(f"it is not valid JSON (line {_line_of(text, offset)}: expected {expected})")


def _line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
