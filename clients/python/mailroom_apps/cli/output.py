"""Output — everything that is printed: results on stdout, remarks on stderr.

Colours and drawn tables appear in a terminal only; a pipe gets plain aligned text. Each result is flushed at once, and
a reader that went away ends the program quietly. Callers make foreign text printable before it comes here.
"""

__all__ = ["emit", "emit_json", "emit_records", "emit_table", "remark", "styled"]

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
import typer
from mailroom.records import Record

from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.printable import printable

Item = TypeVar("Item", bound=Record)


def emit(text: str) -> None:
    """Prints text and a newline."""
    _write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def emit_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on one line."""
    _write(orjson.dumps(value))


def emit_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: drawn in a terminal, aligned columns in a pipe."""
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
    nothing: str,
) -> None:
    """Prints records as a table, or as JSON; where there are none, a table's place is taken by a remark."""
    if json:
        for record in records:
            emit_json(record.to_dict())
    elif records:
        emit_table(headers, [row(record) for record in records])
    else:
        remark(nothing)


def remark(sentence: str) -> None:
    """Prints a sentence on stderr, where it disturbs no result."""
    typer.echo(f"mailroom: {printable(sentence)}", err=True)


def styled(text: str, *, bold: bool = False, dim: bool = False, colour: str | None = None) -> str:
    """Returns the text with its style, in a terminal that wants colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return typer.style(text, fg=colour, bold=bold or None, dim=dim or None)


def _draw_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: cells are no markup
    Console().print(table)


def _write(line: bytes) -> None:
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes there at exit
        raise typer.Exit(ExitCode.OK) from error
