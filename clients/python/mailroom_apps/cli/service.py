"""`mailroom service` — the daemon, and the dashboard beside it, as systemd services."""

__all__ = ["service"]

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroomd.operator.program import find_mailroomd

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.extras import extra_missing
from mailroom_apps.cli.options import Json, examples
from mailroom_apps.cli.output import emit, emit_json, emit_note, emit_table

if TYPE_CHECKING:
    from mailroomd.operator.service.manager import ServiceManager
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
Dashboard = Annotated[bool, typer.Option("--dashboard", help="The dashboard's service instead of the daemon's.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


@service.command(
    epilog=examples(
        "mailroom service install",
        "mailroom service install --dashboard",
        "sudo /opt/mailroom/bin/mailroom service install --machine",
    )
)
def install(
    machine: Machine = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Also run the dashboard (`mailroom dashboard`) beside it.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Install the service, and start it now and at every login. After an upgrade, restart it."""
    from mailroomd.operator.service.manager import DASHBOARD, ServiceManager
    from mailroomd.operator.service.plan import plan_dashboard, plan_install
    from mailroomd.operator.service.steps import apply_steps

    manager, beside = ServiceManager(machine=machine), ServiceManager(machine=machine, service=DASHBOARD)
    has_dashboard = dashboard or (not machine and beside.unit_path.exists())  # an upgrade renews it, too
    steps = plan_install(manager, find_mailroomd())
    if has_dashboard:
        _require_dashboard()
        steps += plan_dashboard(beside, find_mailroomd().with_name("mailroom"))
    if dry_run:
        _show_steps(steps)
        return
    manager.require()
    apply_steps(steps)
    emit(f"installed {manager.unit_path}: {manager.state().status}")
    if has_dashboard:
        emit(f"installed {beside.unit_path}: `mailroom dashboard link` opens it")
    if not machine and not _is_lingering():
        emit_note("the service runs only while you are logged in; `loginctl enable-linger` keeps it running")


@service.command(epilog=examples("mailroom service uninstall", "mailroom service uninstall --dry-run"))
def uninstall(machine: Machine = False, dashboard: Dashboard = False, dry_run: DryRun = False) -> None:
    """Stop and remove the service, and the dashboard beside it. Messages and settings are kept."""
    from mailroomd.operator.service.manager import DASHBOARD, SERVICE, ServiceManager
    from mailroomd.operator.service.plan import plan_uninstall
    from mailroomd.operator.service.steps import apply_steps

    beside = ServiceManager(machine=machine, service=DASHBOARD)
    manager = beside if dashboard else ServiceManager(machine=machine)
    steps = plan_uninstall(manager)
    if manager.service == SERVICE and beside.unit_path.exists():
        steps = [*plan_uninstall(beside), *steps]
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
def status(machine: Machine = False, dashboard: Dashboard = False, json: Json = False) -> None:
    """Show the state of the service according to systemd. The exit code is 69 unless it is active."""
    from dataclasses import asdict

    manager = _manager(machine=machine, dashboard=dashboard)
    manager.require()
    state = manager.state()
    if json:
        emit_json(asdict(state))
    elif not state.is_installed:
        emit_note(
            f"the service is not installed; install it with `mailroom service install{' --dashboard' * dashboard}`"
        )
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
    dashboard: Dashboard = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new entries.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Only warnings and errors.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Number of recent entries.")] = 50,
) -> None:
    """Show the log of the service (journalctl)."""
    manager = _manager(machine=machine, dashboard=dashboard)
    manager.require()
    options = ["--no-pager", f"--lines={lines}"]
    options += ["--follow"] if follow else []
    options += ["--priority=warning"] if errors else []
    command = manager.journalctl(*options)
    os.execvp(command[0], command)  # noqa: S606 - its output is the result, and it handles Ctrl-C itself


def _manager(*, machine: bool, dashboard: bool) -> "ServiceManager":
    from mailroomd.operator.service.manager import DASHBOARD, SERVICE, ServiceManager

    return ServiceManager(machine=machine, service=DASHBOARD if dashboard else SERVICE)


def _require_dashboard() -> None:
    """Raises the error that names the extra if it is not installed: the service would only fail later."""
    try:
        import mailroom_apps.dashboard.server  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise extra_missing("dashboard", "dashboard", error) from error


def _show_steps(steps: Iterable["Step"]) -> None:
    from mailroomd.operator.service.steps import WriteFile

    for step in steps:
        emit(f"would {step}")
        if isinstance(step, WriteFile):
            emit("".join(f"    {line}\n" for line in step.text.splitlines()).rstrip("\n"))


def _is_lingering() -> bool:
    """Returns whether this user's services keep running after logout; source: loginctl(1)."""
    return (Path("/var/lib/systemd/linger") / (os.environ.get("USER") or "root")).exists()
