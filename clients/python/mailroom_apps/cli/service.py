"""`mailroom service` — the daemon as a systemd service: install, uninstall, status, logs."""

__all__ = ["service"]

import os
from pathlib import Path
from typing import Annotated

import typer
from mailroomd.operator.program import find_mailroomd

from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Json, examples
from mailroom_apps.cli.output import emit, emit_json, emit_table, remark

service = typer.Typer(
    name="service",
    help="The daemon as a systemd service, of your own or of the machine.",
    no_args_is_help=True,
)

Machine = Annotated[bool, typer.Option("--machine", help="The machine's service instead of your own; takes root.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, do nothing.")]


@service.command(
    epilog=examples("mailroom service install", "sudo /opt/mailroom/bin/mailroom service install --machine")
)
def install(machine: Machine = False, dry_run: DryRun = False) -> None:
    """Installs the service and starts it now and at every log-in; on an upgrade, restarts it."""
    from mailroomd.operator.service.installation import installing
    from mailroomd.operator.service.manager import ServiceManager
    from mailroomd.operator.service.steps import WriteFile, carry_out

    manager = ServiceManager(machine=machine)
    steps = installing(manager, find_mailroomd())
    if dry_run:
        for step in steps:
            emit(f"would {step}")
            if isinstance(step, WriteFile):
                emit("".join(f"    {line}\n" for line in step.text.splitlines()).rstrip("\n"))
        return
    manager.require()
    carry_out(steps)
    emit(f"installed {manager.unit_path}: {manager.state().status}")
    if not machine and not _lingers():
        remark("it runs while you are logged in; `loginctl enable-linger` keeps it running when you are not")


@service.command(epilog=examples("mailroom service uninstall"))
def uninstall(machine: Machine = False, dry_run: DryRun = False) -> None:
    """Stops the service and takes it away; mail and settings stay."""
    from mailroomd.operator.service.installation import uninstalling
    from mailroomd.operator.service.manager import ServiceManager
    from mailroomd.operator.service.steps import carry_out

    manager = ServiceManager(machine=machine)
    steps = uninstalling(manager)
    if dry_run:
        for step in steps:
            emit(f"would {step}")
        return
    manager.require()
    if not manager.state().is_installed and not manager.unit_path.exists():
        remark("the service is not installed")
        return
    carry_out(steps)
    emit(f"removed {manager.unit_path}; mail and settings are where they were")


@service.command(epilog=examples("mailroom service status", "mailroom service status --json | jq -r .active"))
def status(machine: Machine = False, json: Json = False) -> None:
    """Shows how systemd sees the service; the exit code is 69 unless it is active."""
    from dataclasses import asdict

    from mailroomd.operator.service.manager import ServiceManager

    manager = ServiceManager(machine=machine)
    manager.require()
    state = manager.state()
    if json:
        emit_json(asdict(state))
    elif not state.is_installed:
        remark("the service is not installed: mailroom service install")
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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Only warnings and errors.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest.")] = 50,
) -> None:
    """Shows what the service has logged (journalctl)."""
    from mailroomd.operator.service.manager import ServiceManager

    manager = ServiceManager(machine=machine)
    manager.require()
    words = ["--no-pager", f"--lines={lines}"]
    words += ["--follow"] if follow else []
    words += ["--priority=warning"] if errors else []
    command = manager.journalctl(*words)
    os.execvp(command[0], command)  # noqa: S606 - what it prints is the result, and Ctrl-C is its own


def _lingers() -> bool:
    """Whether this user's services go on after the last log-out; source: loginctl(1)."""
    return (Path("/var/lib/systemd/linger") / (os.environ.get("USER") or "root")).exists()
