"""plan — the steps that install the service, and the steps that remove it.

Installing ends with a restart, so that the same steps also upgrade the service; accepted mail survives it. Removing the
service leaves mail, settings and drop-ins in place.
"""

__all__ = ["plan_install", "plan_uninstall"]

from pathlib import Path

from mailroom.errors import MailroomError

from mailroomd.operator.service.manager import SERVICE, ServiceManager
from mailroomd.operator.service.steps import RemoveFile, RunCommand, Step, WriteFile
from mailroomd.operator.service.units import system_unit, system_user, user_unit

_SYSUSERS_FILE = Path("/etc/sysusers.d/mailroom.conf")
_HIDDEN_DIRECTORIES = (Path("/home"), Path("/root"), Path("/run/user"))  # by ProtectHome= in the system unit
_HINT = "see `mailroom service logs`"


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


def plan_uninstall(manager: ServiceManager) -> list[Step]:
    """Returns the steps that stop the service and remove its files."""
    steps: list[Step] = [
        RunCommand(manager.systemctl("disable", "--now", SERVICE)),
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
