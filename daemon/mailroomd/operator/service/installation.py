"""installation — the steps that put the service in place, and those that take it away.

A restart at the end of an installation is what an upgrade needs; mail that was accepted before is there afterwards.
Taking the service away leaves mail, settings and drop-ins where they are.
"""

__all__ = ["installing", "uninstalling"]

from pathlib import Path

from mailroom.errors import MailroomError

from mailroomd.operator.service.manager import SERVICE, ServiceManager
from mailroomd.operator.service.steps import RemoveFile, RunCommand, Step, WriteFile
from mailroomd.operator.service.units import machine_unit, machine_user, person_unit

_SYSUSERS_FILE = Path("/etc/sysusers.d/mailroom.conf")
_HIDDEN_FROM_SERVICES = (Path("/home"), Path("/root"), Path("/run/user"))  # by ProtectHome= in the machine's unit
_LOOK = "mailroom service logs says why"


def installing(manager: ServiceManager, program: Path) -> list[Step]:
    """Returns the steps that install the service, or upgrade it, and start it.

    Raises:
        MailroomError: the machine's service could not reach the program.
    """
    unit = person_unit(program)
    steps: list[Step] = []
    if manager.is_machine:
        _check_reachable(program)
        unit = machine_unit(program)
        steps += [WriteFile(_SYSUSERS_FILE, machine_user()), RunCommand(("systemd-sysusers", str(_SYSUSERS_FILE)))]
    return [
        *steps,
        WriteFile(manager.unit_path, unit),
        RunCommand(manager.systemctl("daemon-reload")),
        RunCommand(manager.systemctl("enable", SERVICE)),
        RunCommand(manager.systemctl("restart", SERVICE), _LOOK),
    ]


def uninstalling(manager: ServiceManager) -> list[Step]:
    """Returns the steps that stop the service and take its files away."""
    steps: list[Step] = [
        RunCommand(manager.systemctl("disable", "--now", SERVICE)),
        RemoveFile(manager.unit_path),
    ]
    if manager.is_machine:
        steps.append(RemoveFile(_SYSUSERS_FILE))
    return [*steps, RunCommand(manager.systemctl("daemon-reload"))]


def _check_reachable(program: Path) -> None:
    for path in (program, program.resolve()):
        if any(path.is_relative_to(hidden) for hidden in _HIDDEN_FROM_SERVICES):
            raise MailroomError(
                f"{path} is in somebody's home, where the machine's service may not look: "
                "install the mail room below /opt, e.g. python3 -m venv /opt/mailroom (docs/operations.md)"
            )
