"""Systemd — a real `systemd --user` for tests, in its own namespaces, with a journal; needs root and Debian's systemd.

It loads the units of the given home directory and a few targets, never the machine's own. Everything, including every
process that a service started, is gone when the `with` block ends.
"""

__all__ = ["Systemd", "systemd_user"]

import json
import os
import secrets
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.harness.waiting import BOUND_SEC, wait_until

_PROGRAM = Path(__file__).with_name("systemd-in-namespace")
_RUNTIME_DIRECTORY = "/run/user/0"  # inside


@dataclass(frozen=True)
class Systemd:
    """A running service manager.

    Attributes:
        home: the HOME of its user.
        init: the process id of the first process inside, as seen from outside.
    """

    home: Path
    init: int
    environment: Mapping[str, str]

    @property
    def unit_dir(self) -> Path:
        """The directory of the user's unit files."""
        return self.home / ".config" / "systemd" / "user"

    def run(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs a command inside, as the user would in a shell."""
        command = ["nsenter", f"--target={self.init}", "--mount", "--pid", "--", *words]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_SEC
        )
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def systemctl(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs `systemctl --user`."""
        return self.run("systemctl", "--user", *words, check=check)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Returns properties of a unit."""
        shown = self.systemctl("show", unit, f"--property={','.join(names)}").stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, unit: str, *words: str) -> list[dict[str, str]]:
        """Returns the journal entries of a unit's processes."""
        entries = self.run("journalctl", f"--user-unit={unit}", "--output=json", "--no-pager", *words).stdout
        return [json.loads(line) for line in entries.splitlines() if line.startswith("{")]

    def drop_in(self, unit: str, lines: Sequence[str]) -> None:
        """Adds lines to a unit's [Service] section, as `systemctl edit` would; replaces an earlier drop-in."""
        path = self.unit_dir / f"{unit}.d" / "test.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["[Unit]", "StartLimitIntervalSec=0", "[Service]", *lines, ""]))
        self.systemctl("daemon-reload")


@contextmanager
def systemd_user(directory: Path) -> Generator[Systemd]:
    """Starts a service manager whose user lives in `directory`/home."""
    home, stubs = directory / "home", directory / "stubs"
    for created in (home / ".config" / "systemd" / "user", stubs):
        created.mkdir(parents=True)
    for target in ("basic", "default", "shutdown", "exit"):
        (stubs / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    cgroup = f"mailroom-test-{secrets.token_hex(4)}"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_", "DBUS_"))
    }
    environment = inherited | {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": _RUNTIME_DIRECTORY,
        "SYSTEMD_UNIT_PATH": f"{home}/.config/systemd/user:{stubs}",
        "CGROUP": cgroup,
    }
    with (directory / "systemd.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", str(_PROGRAM)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _started(process, home, environment, directory / "systemd.log")
    finally:
        process.kill()
        process.wait(BOUND_SEC)
        for hierarchy in Path("/sys/fs/cgroup").glob(f"**/{cgroup}"):
            wait_until(lambda group=hierarchy: _removed(group), f"{hierarchy} is empty")


def _started(process: "subprocess.Popen[bytes]", home: Path, environment: Mapping[str, str], log: Path) -> Systemd:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def running_systemd() -> list[Systemd]:
        assert process.poll() is None, f"systemd ended with {process.returncode}: {log.read_text()}"
        for child in children.read_text().split():
            systemd = Systemd(home, int(child), environment)
            with suppress(OSError):
                if systemd.systemctl("is-system-running", check=False).stdout.strip() == "running":
                    return [systemd]
        return []

    return wait_until(running_systemd, "systemd is running")[0]


def _removed(group: Path) -> bool:
    """Removes a cgroup and those below it, once they are empty."""
    with suppress(FileNotFoundError):
        for directory in sorted((*group.rglob("*/"), group), reverse=True):
            try:
                if directory.is_dir():
                    directory.rmdir()
            except OSError:
                return False
    return True
