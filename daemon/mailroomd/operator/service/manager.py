"""ServiceManager — systemd as the service commands need it: a person's own, or the machine's.

Owns where unit files are, how systemctl and journalctl are called, and the sentences for a machine without systemd. It
writes nothing (`steps` do) and knows no mail.
"""

__all__ = ["SERVICE", "ServiceManager", "ServiceState"]

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
_SHOWN = ("LoadState", "ActiveState", "SubState", "StatusText", "MainPID", "NRestarts", "Result", "FragmentPath")
_ANSWER_SEC = 10.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How systemd sees the service.

    Attributes:
        is_installed: whether there is a unit.
        active: systemd's ActiveState: active, activating, reloading, failed, inactive, deactivating.
        status: the daemon's own sentence.
        pid: of the supervisor, 0 when it does not run.
        restarts: how often systemd has restarted it by itself.
        result: why it is not running, in systemd's words: success, exit-code, signal, watchdog, timeout.
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
        """Reads what `systemctl show` printed."""
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
    """The systemd of this person, or of the machine."""

    def __init__(self, *, machine: bool) -> None:
        self.is_machine = machine
        if not machine:
            _find_runtime_directory()

    @property
    def unit_path(self) -> Path:
        """Where the unit file belongs."""
        if self.is_machine:
            return Path("/etc/systemd/system") / SERVICE
        base = os.environ.get("XDG_CONFIG_HOME", "")
        return (Path(base) if base.startswith("/") else expand_home("~/.config")) / "systemd" / "user" / SERVICE

    def systemctl(self, *words: str) -> tuple[str, ...]:
        """Returns the command line of a systemctl command."""
        return ("systemctl", *(() if self.is_machine else ("--user",)), *words)

    def journalctl(self, *words: str) -> tuple[str, ...]:
        """Returns the command line that reads the service's journal."""
        return ("journalctl", f"--unit={SERVICE}" if self.is_machine else f"--user-unit={SERVICE}", *words)

    def require(self) -> None:
        """Makes sure that systemd is there and answers.

        Raises:
            MailroomError: it isn't; the sentence says what to do instead.
        """
        by_hand = "start mailroomd by hand, or from the service manager that you have"
        if shutil.which("systemctl") is None:
            raise MailroomError(f"there is no systemd on this machine (no systemctl): {by_hand}")
        if self.is_machine and os.geteuid() != 0:
            raise MailroomError("a service of the machine takes root: try it with sudo, or leave --machine out")
        asked = self._ask("show", "--property=Version")
        if asked.returncode:
            said = (asked.stderr.strip().splitlines() or ["no answer"])[0]
            whose = "the machine's systemd" if self.is_machine else "your own systemd (systemctl --user)"
            advice = "" if self.is_machine else "log in as this user instead of changing to it with su or sudo, or "
            raise MailroomError(f"{whose} does not answer ({said}): {advice}{by_hand}")

    def state(self) -> ServiceState:
        """Returns how the service is; asks systemd, so `require` first."""
        asked = self._ask("show", SERVICE, f"--property={','.join(_SHOWN)}")
        return ServiceState.from_properties(
            dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
        )

    def _ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = self.systemctl(*words)
        try:
            return subprocess.run(  # noqa: S603 - our own words
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_ANSWER_SEC
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer within {_ANSWER_SEC:g} s")


def _find_runtime_directory() -> None:
    """Sets XDG_RUNTIME_DIR, without which `systemctl --user` finds nobody, where a cron job or ssh left it out."""
    usual = Path("/run/user") / str(os.geteuid())
    if not os.environ.get("XDG_RUNTIME_DIR") and usual.is_dir():
        os.environ["XDG_RUNTIME_DIR"] = str(usual)
