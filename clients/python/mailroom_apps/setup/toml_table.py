"""TomlTable — one table of ours in a TOML file, edited as text: everything else stays, byte for byte.

A new table is appended below a comment, so it can be removed without a trace. A table that is there keeps what was
added to it. Own code: the maintained library prints dotted keys anew, and moves them into our table.
Invariant: the result says what the file said, with exactly our change; otherwise the file is refused.
"""

__all__ = ["TomlTable", "TomlTextError"]

import json
import re
from collections.abc import Mapping
from typing import Any, cast

COMMENT = "# by `mailroom setup`"
NO_NEWLINE = ", which ended the line above"  # the file had no final newline, and gets it back
_HEADER = re.compile(r"\s*\[")


class TomlTextError(ValueError):
    """The file is not TOML, or holds the table in a form that cannot be edited as text."""


class TomlTable:
    """A table and its subtables.

    Args:
        text: of the file.
        path: of the table: plain keys.

    Raises:
        TomlTextError: the text is not TOML.
    """

    def __init__(self, text: str, path: tuple[str, str]) -> None:
        import tomllib  # here, because every command imports the command line with `setup`

        self.text = text
        self._path = path
        self._eol = "\r\n" if "\r\n" in text else "\n"
        try:
            self.document = tomllib.loads(text)
        except ValueError as error:  # also an integer of thousands of digits
            raise TomlTextError(f"it is not valid TOML ({error})") from error
        except RecursionError as error:
            raise TomlTextError("it is nested too deeply") from error

    @property
    def value(self) -> Any:
        """The table; None if there is none."""
        tables = self.document.get(self._path[0], {})
        if not isinstance(tables, dict):
            raise TomlTextError(f"{self._path[0]} is not a table")
        return cast("dict[str, Any]", tables).get(self._path[1])

    def merged(self, owned: Mapping[str, Any], defaults: Mapping[str, Any]) -> "TomlTable":
        """Returns the file with what is owned set, and defaults added where they are missing.

        Raises:
            TomlTextError: the table cannot be edited as text.
        """
        current = self.value
        if current is None:
            return self._checked(self._appended({**owned, **defaults}), {**owned, **defaults})
        added = {key: value for key, value in defaults.items() if key not in current}
        wanted = _merge(current, {**owned, **added})
        if wanted == current:
            return self
        lines = self.text.splitlines(keepends=True)
        for key, value in wanted.items():
            if current.get(key) == value:
                continue
            start, end = self._section(lines, ())
            if isinstance(value, dict) and self._header_index(lines, (key,)) is not None:
                self._set_members(lines, key, cast("dict[str, Any]", value), current[key])
            else:
                self._set_line(lines, start, end, key, cast("object", value))
        return self._checked("".join(lines), wanted)

    def removed(self) -> "TomlTable":
        """Returns the file without the table.

        Raises:
            TomlTextError: the table cannot be edited as text.
        """
        lines = self.text.splitlines(keepends=True)
        while (found := self._any_section(lines)) is not None:
            start, end = found
            had_newline = True
            if start and lines[start - 1].startswith(COMMENT):
                start -= 1
                had_newline = NO_NEWLINE not in lines[start]
            if start and not lines[start - 1].strip():
                start -= 1  # the blank line above
            del lines[start:end]
            if start and not had_newline:
                lines[start - 1] = lines[start - 1].rstrip("\r\n")
        return self._checked("".join(lines), None)

    def _appended(self, table: Mapping[str, Any]) -> str:
        eol = self._eol
        is_ended = not self.text or self.text.endswith("\n")
        blank = eol if self.text else ""
        comment = f"{COMMENT}{'' if is_ended else NO_NEWLINE}{eol}"
        return f"{self.text}{'' if is_ended else eol}{blank}{comment}{self._rendered(self._path, table)}"

    def _rendered(self, path: tuple[str, ...], table: Mapping[str, Any]) -> str:
        plain = "".join(f"{key} = {_toml(value)}{self._eol}" for key, value in table.items() if not _is_table(value))
        tables = "".join(
            self._eol + self._rendered((*path, key), value) for key, value in table.items() if _is_table(value)
        )
        return f"[{'.'.join(path)}]{self._eol}{plain}{tables}"

    def _set_members(self, lines: list[str], table: str, wanted: dict[str, Any], current: dict[str, Any]) -> None:
        for key in {**current, **wanted}:
            start, end = self._section(lines, (table,))
            if key not in wanted:
                del lines[self._line_of(lines, start, end, key)]
            elif current.get(key) != wanted[key]:
                self._set_line(lines, start, end, key, wanted[key])

    def _set_line(self, lines: list[str], start: int, end: int, key: str, value: object) -> None:
        line = f"{key} = {_toml(value)}{self._eol}"
        try:
            lines[self._line_of(lines, start, end, key)] = line
        except TomlTextError:
            if not lines[end - 1].endswith("\n"):
                lines[end - 1] += self._eol
            lines.insert(end, line)

    def _line_of(self, lines: list[str], start: int, end: int, key: str) -> int:
        for index in range(start, end):
            if re.match(rf'\s*(?:{re.escape(key)}|"{re.escape(key)}")\s*=', lines[index]):
                return index
        raise TomlTextError(f"{'.'.join((*self._path, key))} cannot be edited as text")

    def _section(self, lines: list[str], subtable: tuple[str, ...]) -> tuple[int, int]:
        start = self._header_index(lines, subtable)
        if start is None:
            raise TomlTextError(f"{'.'.join((*self._path, *subtable))} has no header of its own")
        return start, _end_of_section(lines, start)

    def _any_section(self, lines: list[str]) -> tuple[int, int] | None:
        """Returns the last section of the table or of one of its subtables."""
        for start in range(len(lines) - 1, -1, -1):
            if self._header(()).match(lines[start]) or self._header((), r"\s*\.[^\]]+").match(lines[start]):
                return start, _end_of_section(lines, start)
        return None

    def _header_index(self, lines: list[str], subtable: tuple[str, ...]) -> int | None:
        pattern = self._header(subtable)
        return next((index for index, line in enumerate(lines) if pattern.match(line)), None)

    def _header(self, subtable: tuple[str, ...], rest: str = "") -> re.Pattern[str]:
        keys = r"\s*\.\s*".join(rf'(?:{re.escape(key)}|"{re.escape(key)}")' for key in (*self._path, *subtable))
        return re.compile(rf"\s*\[\s*{keys}{rest}\s*\]")

    def _checked(self, text: str, wanted: Mapping[str, Any] | None) -> "TomlTable":
        """Returns the file with another text, if that differs from this one by our table alone."""
        expected = {key: value for key, value in self.document.items() if key != self._path[0]}
        tables = {key: value for key, value in self.document.get(self._path[0], {}).items() if key != self._path[1]}
        if wanted is not None:
            tables[self._path[1]] = _without_none(wanted)
        if tables:
            expected[self._path[0]] = tables
        edited = TomlTable(text, self._path)
        found = dict(edited.document)
        if not found.get(self._path[0], True):
            del found[self._path[0]]
        if found != expected:
            raise TomlTextError(f"[{'.'.join(self._path)}] cannot be edited as text")
        return edited


def _end_of_section(lines: list[str], start: int) -> int:
    """Returns the line behind the last key of a section: comments above the next header belong to that one."""
    end = following = start + 1
    while following < len(lines) and not _HEADER.match(lines[following]):
        following += 1
        if (line := lines[following - 1].strip()) and not line.startswith("#"):
            end = following
    return end


def _merge(current: Mapping[str, Any], owned: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(current)
    for key, value in owned.items():
        if isinstance(value, Mapping):
            merged[key] = _merge(merged.get(key, {}), cast("Mapping[str, Any]", value))
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return _without_none(merged)


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a table without keys that have no value, and without subtables that are empty then."""
    members = {key: _without_none(value) if _is_table(value) else value for key, value in table.items()}
    return {key: value for key, value in members.items() if value is not None and value != {}}


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _toml(value: object) -> str:
    match value:
        case Mapping():
            pairs = cast("Mapping[str, object]", value).items()
            return f"{{ {', '.join(f'{key} = {_toml(member)}' for key, member in pairs)} }}"
        case list():
            return f"[{', '.join(map(_toml, cast('list[object]', value)))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
