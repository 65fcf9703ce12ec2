"""plan — the steps that install the service, and the dashboard beside it, and the steps that remove them.

Installing ends with a restart, so that the same steps also upgrade the service; accepted mail survives it. Removing the
service leaves mail, settings and drop-ins in place.
"""

__all__ = ["plan_dashboard", "plan_install", "plan_uninstall"]

from pathlib import Path

from mailroom.errors import MailroomError

from mailroomd.operator.service.manager import SERVICE, ServiceManager
from mailroomd.operator.service.steps import RemoveFile, RunCommand, Step, WriteFile
from mailroomd.operator.service.units import dashboard_unit, system_unit, system_user, user_unit

_SYSUSERS_FILE = Path("/etc/sysusers.d/mailroom.conf")
_HIDDEN_DIRECTORIES = (Path("/home"), Path("/root"), Path("/run/user"))  # by ProtectHome= in the system unit
_HINT = "see `mailroom service logs`"
_DASHBOARD_HINT = "see `mailroom service logs --dashboard`"


def plan_install(manager: ServiceManager, program: Path) -> list[Step]:
    """Returns the steps that install the service, or upgrade it, and start it.

    Raises:
        MailroomError: the system service could not access the program.
    """
    unit = user_unit(program)
    steps: list[Step] = []
    if manager.is_machine:
        _check_reachable(program)
        unit = system_unit(program)
        steps += [WriteFile(_SYSUSERS_FILE, system_user()), RunCommand(("systemd-sysusers", str(_SYSUSERS_FILE)))]
    return [
        *steps,
        WriteFile(manager.unit_path, unit),
        RunCommand(manager.systemctl("daemon-reload")),
        RunCommand(manager.systemctl("enable", SERVICE)),
        RunCommand(manager.systemctl("restart", SERVICE), _HINT),
    ]


def plan_dashboard(manager: ServiceManager, program: Path) -> list[Step]:
    """Returns the steps that install the dashboard beside the service, or upgrade it, and start it.

    Args:
        manager: for the unit DASHBOARD, of a user.
        program: `mailroom`.

    Raises:
        MailroomError: the manager is that of the machine.
    """
    if manager.is_machine:
        raise MailroomError(
            "the dashboard is one operator's page, so it is a user service: run `mailroom service install --dashboard` "
            "as that user, or `mailroom dashboard` with an administrator's token"
        )
    return [
        WriteFile(manager.unit_path, dashboard_unit(program)),
        RunCommand(manager.systemctl("daemon-reload")),
        RunCommand(manager.systemctl("enable", manager.service)),
        RunCommand(manager.systemctl("restart", manager.service), _DASHBOARD_HINT),
    ]


def plan_uninstall(manager: ServiceManager) -> list[Step]:
    """Returns the steps that stop a service and remove its files."""
    steps: list[Step] = [
        RunCommand(manager.systemctl("disable", "--now", manager.service)),
        RemoveFile(manager.unit_path),
    ]
    if manager.is_machine:
        steps.append(RemoveFile(_SYSUSERS_FILE))
    return [*steps, RunCommand(manager.systemctl("daemon-reload"))]


def _check_reachable(program: Path) -> None:
    for path in (program, program.resolve()):
        if any(path.is_relative_to(hidden) for hidden in _HIDDEN_DIRECTORIES):
            raise MailroomError(
                f"{path} is in a home directory, which a system service cannot access: "
                "install Mailroom below /opt, e.g. python3 -m venv /opt/mailroom (docs/operations.md)"
            )
