"""ServiceManager — systemd as the service commands use it: the user's instance or the system's.

Owns the location of the unit file, the command lines of systemctl and journalctl, and the errors for a machine without
systemd. It writes nothing; `steps` does.
"""

__all__ = ["DASHBOARD", "SERVICE", "ServiceManager", "ServiceState"]

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mailroom.addresses import expand_home
from mailroom.errors import MailroomError

SERVICE = "mailroomd.service"
DASHBOARD = "mailroom-dashboard.service"
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "StatusText", "MainPID", "NRestarts", "Result", "FragmentPath")
_TIMEOUT_SEC = 10.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of the service according to systemd.

    Attributes:
        is_installed: whether the unit exists.
        active: systemd's ActiveState: active, activating, reloading, failed, inactive, deactivating.
        status: the daemon's status text.
        pid: the supervisor's process id, 0 if it is not running.
        restarts: how often systemd has restarted the service automatically.
        result: systemd's Result: success, exit-code, signal, watchdog, timeout.
        unit: the unit file.
    """

    is_installed: bool
    active: str
    status: str
    pid: int
    restarts: int
    result: str
    unit: str

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> Self:
        """Returns the state from the output of `systemctl show`."""
        return cls(
            properties.get("LoadState") == "loaded",
            properties.get("ActiveState", "unknown"),
            properties.get("StatusText", ""),
            int(properties.get("MainPID") or 0),
            int(properties.get("NRestarts") or 0),
            properties.get("Result", ""),
            properties.get("FragmentPath", ""),
        )


class ServiceManager:
    """The systemd instance of this user, or of the whole machine.

    Args:
        machine: whether it is that of the machine.
        service: the unit that state and journal are about.
    """

    def __init__(self, *, machine: bool, service: str = SERVICE) -> None:
        self.is_machine = machine
        self.service = service
        if not machine:
            _set_runtime_directory()

    @property
    def unit_path(self) -> Path:
        """The location of the unit file."""
        if self.is_machine:
            return Path("/etc/systemd/system") / self.service
        base = os.environ.get("XDG_CONFIG_HOME", "")
        return (Path(base) if base.startswith("/") else expand_home("~/.config")) / "systemd" / "user" / self.service

    def systemctl(self, *words: str) -> tuple[str, ...]:
        """Returns the command line of a systemctl command."""
        return ("systemctl", *(() if self.is_machine else ("--user",)), *words)

    def journalctl(self, *words: str) -> tuple[str, ...]:
        """Returns the command line that shows the service's journal."""
        return ("journalctl", f"--{'unit' if self.is_machine else 'user-unit'}={self.service}", *words)

    def require(self) -> None:
        """Makes sure that systemd is available.

        Raises:
            MailroomError: it is not; the message says what to do instead.
        """
        alternative = "start mailroomd by hand or from another service manager"
        if shutil.which("systemctl") is None:
            raise MailroomError(f"systemd is not available (systemctl not found): {alternative}")
        if self.is_machine and os.geteuid() != 0:
            raise MailroomError("installing a system service requires root: use sudo, or omit --machine")
        result = self._run("show", "--property=Version")
        if result.returncode:
            detail = (result.stderr.strip().splitlines() or ["no answer"])[0]
            instance = "systemd" if self.is_machine else "the systemd user instance (systemctl --user)"
            advice = "" if self.is_machine else "log in as this user instead of using su or sudo, or "
            raise MailroomError(f"{instance} does not respond ({detail}): {advice}{alternative}")

    def state(self) -> ServiceState:
        """Returns the state of the service. Call `require` first."""
        result = self._run("show", self.service, f"--property={','.join(_PROPERTIES)}")
        return ServiceState.from_properties(
            dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        )

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = self.systemctl(*words)
        try:
            return subprocess.run(  # noqa: S603 - fixed words
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SEC
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer within {_TIMEOUT_SEC:g} s")


def _set_runtime_directory() -> None:
    """Sets XDG_RUNTIME_DIR, which `systemctl --user` requires, if a cron job or ssh did not set it."""
    directory = Path("/run/user") / str(os.geteuid())
    if not os.environ.get("XDG_RUNTIME_DIR") and directory.is_dir():
        os.environ["XDG_RUNTIME_DIR"] = str(directory)
