"""`mailroom service` — the daemon as a systemd service: install, uninstall, status, logs."""

__all__ = ["service"]

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroomd.operator.program import find_mailroomd

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Json, examples
from mailroom_apps.cli.output import emit, emit_json, emit_note, emit_table

if TYPE_CHECKING:
    from mailroomd.operator.service.steps import Step

service = typer.Typer(
    cls=CommandGroup,
    name="service",
    help="Run the daemon as a systemd service, for this user or for the whole machine.",
    no_args_is_help=True,
)

Machine = Annotated[
    bool, typer.Option("--machine", help="Use a system service instead of a user service; requires root.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


@service.command(
    epilog=examples("mailroom service install", "sudo /opt/mailroom/bin/mailroom service install --machine")
)
def install(machine: Machine = False, dry_run: DryRun = False) -> None:
    """Install the service, and start it now and at every login. After an upgrade, restart it."""
    from mailroomd.operator.service.manager import ServiceManager
    from mailroomd.operator.service.plan import plan_install
    from mailroomd.operator.service.steps import apply_steps

    manager = ServiceManager(machine=machine)
    steps = plan_install(manager, find_mailroomd())
    if dry_run:
        _show_steps(steps)
        return
    manager.require()
    apply_steps(steps)
    emit(f"installed {manager.unit_path}: {manager.state().status}")
    if not machine and not _is_lingering():
        emit_note("the service runs only while you are logged in; `loginctl enable-linger` keeps it running")


@service.command(epilog=examples("mailroom service uninstall", "mailroom service uninstall --dry-run"))
def uninstall(machine: Machine = False, dry_run: DryRun = False) -> None:
    """Stop and remove the service. Messages and settings are kept."""
    from mailroomd.operator.service.manager import ServiceManager
    from mailroomd.operator.service.plan import plan_uninstall
    from mailroomd.operator.service.steps import apply_steps

    manager = ServiceManager(machine=machine)
    steps = plan_uninstall(manager)
    if dry_run:
        _show_steps(steps)
        return
    manager.require()
    if not manager.state().is_installed and not manager.unit_path.exists():
        emit_note("the service is not installed")
        return
    apply_steps(steps)
    emit(f"removed {manager.unit_path}; messages and settings are kept")


@service.command(epilog=examples("mailroom service status", "mailroom service status --json | jq -r .active"))
def status(machine: Machine = False, json: Json = False) -> None:
    """Show the state of the service according to systemd. The exit code is 69 unless it is active."""
    from dataclasses import asdict

    from mailroomd.operator.service.manager import ServiceManager

    manager = ServiceManager(machine=machine)
    manager.require()
    state = manager.state()
    if json:
        emit_json(asdict(state))
    elif not state.is_installed:
        emit_note("the service is not installed; install it with `mailroom service install`")
    else:
        emit_table(
            ("ACTIVE", "PID", "RESTARTS", "RESULT", "STATUS"),
            [(state.active, str(state.pid or "-"), str(state.restarts), state.result, state.status or "-")],
        )
    if state.active not in ("active", "reloading"):
        raise typer.Exit(ExitCode.NOT_RUNNING)


@service.command(epilog=examples("mailroom service logs --follow", "mailroom service logs --errors --lines 200"))
def logs(
    machine: Machine = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new entries.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Only warnings and errors.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Number of recent entries.")] = 50,
) -> None:
    """Show the log of the service (journalctl)."""
    from mailroomd.operator.service.manager import ServiceManager

    manager = ServiceManager(machine=machine)
    manager.require()
    options = ["--no-pager", f"--lines={lines}"]
    options += ["--follow"] if follow else []
    options += ["--priority=warning"] if errors else []
    command = manager.journalctl(*options)
    os.execvp(command[0], command)  # noqa: S606 - its output is the result, and it handles Ctrl-C itself


def _show_steps(steps: Iterable["Step"]) -> None:
    from mailroomd.operator.service.steps import WriteFile

    for step in steps:
        emit(f"would {step}")
        if isinstance(step, WriteFile):
            emit("".join(f"    {line}\n" for line in step.text.splitlines()).rstrip("\n"))


def _is_lingering() -> bool:
    """Returns whether this user's services keep running after logout; source: loginctl(1)."""
    return (Path("/var/lib/systemd/linger") / (os.environ.get("USER") or "root")).exists()
