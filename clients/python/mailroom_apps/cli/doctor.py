"""`mailroom doctor` — says what is wrong on this machine and what to do, also while the daemon is down."""

__all__ = ["doctor"]

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom_apps.cli.connection import chosen_address, quiet_grpc
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit, emit_json, styled
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroomd.operator.doctor.findings import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_WIDTH = 20  # of the checks' names


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe to mend: our modes, what was left behind.")
    ] = False,
    root: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where agents look.", show_default="MAILROOM_ROOT, else ~/.claude")
    ] = None,
    state_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="The daemon's own files.", show_default="MAILROOM_STATE_DIR, …")
    ] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Checks directories, socket, daemon, locks, database, disks and clock; exit code 1 if there is a problem."""
    from mailroomd.operator.doctor import Level, Places, examine

    quiet_grpc()
    places = Places.find(root=root, state_dir=state_dir, address=chosen_address(address))
    levels = Counter[Level]()
    for found in examine(places):
        finding = found.mended() if fix else found
        levels[finding.level] += 1
        emit_json(finding.to_dict()) if json else emit(_text(finding))
    if not json:
        emit(_summary(levels[Level.PROBLEM], levels[Level.WARNING]))
    if levels[Level.PROBLEM]:
        raise typer.Exit(ExitCode.PROBLEMS)


def _text(finding: "Finding") -> str:
    word = "fixed" if finding.fixed else finding.level
    head = f"{styled(f'{word:8}', bold=True, colour=_COLOURS[finding.level])} {printable_line(finding.check):{_WIDTH}}"
    line = f"{head} {printable_line(finding.summary)}"
    if not finding.advice or finding.fixed:
        return line
    by_fix = "  (or --fix)" if finding.fix else ""
    return f"{line}\n{'':{9 + _WIDTH}} -> {printable_line(finding.advice)}{by_fix}"


def _summary(problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return "all is well"
    return f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}"


def _number(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
