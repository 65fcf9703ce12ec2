"""`mailroom doctor` — finds problems of the installation and says how to solve them, even while the daemon is down."""

__all__ = ["doctor"]

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom_apps.cli.connection import chosen_address, quiet_grpc
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, Json, StateDir
from mailroom_apps.cli.output import emit, emit_json, styled
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailroomd.operator.doctor import Finding

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}
_CHECK_WIDTH = 20


def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Repair what is safe to repair: file modes of Mailroom's own files, stale files and locks."
        ),
    ] = False,
    root: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="The directory that agents see.", show_default="MAILROOM_ROOT, or ~/.claude"),
    ] = None,
    state_dir: StateDir = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Check daemon, socket, directories, locks, database, disks, clock and the setup of agent programs.

    The exit code is 1 if there is a problem.
    """
    from mailroomd.operator.doctor import Installation, Level, run_checks

    quiet_grpc()
    installation = Installation.find(root=root, state_dir=state_dir, address=chosen_address(address))
    levels = Counter[Level]()
    for finding in (*run_checks(installation), *_check_sessions(), *_check_agents()):
        result = finding.apply_fix() if fix else finding
        levels[result.level] += 1
        emit_json(result.to_dict()) if json else emit(_render(result))
    if not json:
        emit(_summarize(levels[Level.PROBLEM], levels[Level.WARNING]))
    if levels[Level.PROBLEM]:
        raise typer.Exit(ExitCode.PROBLEMS)


def _check_sessions() -> "Iterator[Finding]":
    """Checks the directory in which hooks remember what each session has seen; the daemon does not know it."""
    from mailroomd.operator.doctor.finding import ok, problem

    from mailroom_apps.hooks.session_state import sessions_directory

    path = Path(sessions_directory())
    if not path.exists():
        yield ok("sessions directory", "not in use")
    elif not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK) or path.stat().st_mode & 0o300 != 0o300:
        summary = f"hooks cannot write to {path}, so they show the same messages again and again"
        yield problem("sessions directory", summary, f"make it a directory that you can write to: chmod u+rwx {path}")
    else:
        yield ok("sessions directory", f"{path} is writable")


def _check_agents() -> "Iterator[Finding]":
    """Looks at the setup of the agent programs, for this user and in this directory."""
    from mailroomd.operator.doctor.finding import ok, warning

    from mailroom_apps.setup.check import check_programs

    try:
        project = Path.cwd()
    except FileNotFoundError:  # it was deleted
        project = None
    for found in check_programs(project):
        check = f"setup {found.program}"
        yield warning(check, found.summary, found.advice) if found.advice else ok(check, found.summary)


def _render(finding: "Finding") -> str:
    word = "fixed" if finding.fixed else finding.level
    level = styled(f"{word:8}", bold=True, color=_COLORS[finding.level])
    line = f"{level} {printable_line(finding.check):{_CHECK_WIDTH}} {printable_line(finding.summary)}"
    if not finding.advice or finding.fixed:
        return line
    by_fix = "  (or --fix)" if finding.fix else ""
    return f"{line}\n{'':{9 + _CHECK_WIDTH}} -> {printable_line(finding.advice)}{by_fix}"


def _summarize(problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return "no problems found"
    return f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
