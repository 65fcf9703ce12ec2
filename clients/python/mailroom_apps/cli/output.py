"""Output — everything that is printed: results on stdout, notes on stderr.

Colors and drawn tables appear only in a terminal; a pipe gets plain aligned text. Each result is flushed at once, and a
closed pipe ends the program quietly. Callers make text of other agents printable before they pass it here.
"""

__all__ = ["emit", "emit_json", "emit_note", "emit_records", "emit_table", "styled"]

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
import typer
from mailroom.records import Record

from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.printable import json_escaped, printable

Item = TypeVar("Item", bound=Record)


def emit(text: str) -> None:
    """Prints text and a newline."""
    _write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def emit_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on one line. In a terminal, dangerous characters become JSON escapes of equal meaning."""
    line = orjson.dumps(value)
    _write(json_escaped(line.decode()).encode() if sys.stdout.isatty() else line)


def emit_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: drawn in a terminal, as aligned columns in a pipe."""
    if sys.stdout.isatty():
        _draw_table(headers, rows)
        return
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in (headers, *rows):
        emit("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def emit_records(
    records: Sequence[Item],
    headers: Sequence[str],
    row: Callable[[Item], Sequence[str]],
    *,
    json: bool,
    empty_note: str,
) -> None:
    """Prints records as a table or as JSON; prints a note instead of an empty table."""
    if json:
        for record in records:
            emit_json(record.to_dict())
    elif records:
        emit_table(headers, [row(record) for record in records])
    else:
        emit_note(empty_note)


def emit_note(sentence: str) -> None:
    """Prints a note or an error on stderr, where it does not disturb the results."""
    typer.echo(f"mailroom: {printable(sentence)}", err=True)


def styled(text: str, *, bold: bool = False, dim: bool = False, color: str | None = None) -> str:
    """Returns the text with its style if stdout is a terminal and NO_COLOR is not set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return typer.style(text, fg=color, bold=bold or None, dim=dim or None)


def _draw_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: cells contain no markup
    Console().print(table)


def _write(line: bytes) -> None:
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the rest of the buffer at exit
        raise typer.Exit(ExitCode.OK) from error
