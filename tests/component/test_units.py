"""The unit files are valid for systemd, hardened, and consistent with the daemon's exit codes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mailroom.errors import MailroomError
from mailroomd.operator.service.manager import DASHBOARD, ServiceManager
from mailroomd.operator.service.plan import plan_dashboard, plan_install, plan_uninstall
from mailroomd.operator.service.steps import RunCommand, WriteFile
from mailroomd.operator.service.units import dashboard_unit, system_unit, system_user, user_unit
from mailroomd.supervisor.exits import ExitCode
from mailroomd.supervisor.shutdown import BUDGET_SEC

Unit = Callable[[Path], str]
PROGRAM = Path(sys.executable)  # any existing program
BOTH = pytest.mark.parametrize("unit", [system_unit, user_unit])

# Options that a user's service manager lacks the privilege for or need not set: the user's processes have no
# capabilities, and the user's files and sockets are the purpose. `systemd-analyze` rates every unit as root's.
NOT_FOR_USERS = re.compile(
    r"User=|CapabilityBoundingSet=|Private|Protect|ProcSubset|RootDirectory|DeviceAllow|IPAddressDeny"
    r"|RestrictAddressFamilies=~AF_(UNIX|\(INET)"
)


def analyze(tmp_path: Path, unit: str, *words: str) -> "subprocess.CompletedProcess[str]":
    path = tmp_path / "mailroomd.service"
    path.write_text(unit)
    command = ["systemd-analyze", *words, "--no-pager", str(path)]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def values(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


@pytest.mark.parametrize(
    ("unit", "scope"), [(system_unit, "--system"), (user_unit, "--user"), (dashboard_unit, "--user")]
)
@pytest.mark.system
def test_systemd_understands_every_line(tmp_path: Path, unit: Unit, scope: str) -> None:
    done = analyze(tmp_path, unit(PROGRAM), "verify", scope, "--man=no", "--recursive-errors=no")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.system
def test_the_system_unit_is_hardened_below_1_6(tmp_path: Path) -> None:
    done = analyze(tmp_path, system_unit(PROGRAM), "security", "--offline=true", "--threshold=16")
    assert done.returncode == 0, done.stdout


@pytest.mark.system
@pytest.mark.parametrize("unit", [user_unit, dashboard_unit])
def test_a_user_unit_forbids_everything_that_needs_no_privilege(tmp_path: Path, unit: Unit) -> None:
    rated = analyze(tmp_path, unit(PROGRAM), "security", "--offline=true", "--json=short")
    allowed = [option["name"] for option in json.loads(rated.stdout) if option["set"] is False]
    assert len(allowed) > 20
    assert [name for name in allowed if not NOT_FOR_USERS.match(name)] == []


@BOTH
def test_a_unit_does_not_restart_after_errors_that_a_restart_cannot_fix(unit: Unit) -> None:
    listed = values(unit(PROGRAM), "RestartPreventExitStatus")[0].split()
    assert sorted(map(int, listed)) == sorted(code for code in ExitCode if not code.restart_helps)
    assert values(unit(PROGRAM), "Restart") == ["on-failure"]


@BOTH
def test_a_unit_gives_the_daemon_enough_time_to_stop(unit: Unit) -> None:
    assert float(values(unit(PROGRAM), "TimeoutStopSec")[0]) > 2 * BUDGET_SEC
    assert values(unit(PROGRAM), "KillMode") == ["mixed"]


@BOTH
@pytest.mark.parametrize(
    ("program", "written"),
    [("/opt/a/mailroomd", "/opt/a/mailroomd"), ("/opt/my mail/100%/$x", '"/opt/my mail/100%%/$$x"')],
)
def test_a_unit_runs_the_program_that_is_installed(unit: Unit, program: str, written: str) -> None:
    assert values(unit(Path(program)), "ExecStart") == [written]


def test_installing_writes_the_unit_then_enables_and_restarts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    steps = plan_install(ServiceManager(machine=False), PROGRAM)
    assert steps[0] == WriteFile(tmp_path / "systemd/user/mailroomd.service", user_unit(PROGRAM))
    commands = [step.words for step in steps if isinstance(step, RunCommand)]
    assert commands == [
        ("systemctl", "--user", "daemon-reload"),
        ("systemctl", "--user", "enable", "mailroomd.service"),
        ("systemctl", "--user", "restart", "mailroomd.service"),
    ]


def test_the_dashboard_is_installed_beside_the_service_and_prints_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    manager = ServiceManager(machine=False, service=DASHBOARD)
    unit, *commands = plan_dashboard(manager, Path("/opt/a/mailroom"))
    assert unit == WriteFile(
        tmp_path / "systemd/user/mailroom-dashboard.service", dashboard_unit(Path("/opt/a/mailroom"))
    )
    assert values(dashboard_unit(Path("/opt/a/mailroom")), "ExecStart") == [
        "/opt/a/mailroom dashboard --no-open --no-link"
    ]
    assert [step.words[2:] for step in commands if isinstance(step, RunCommand)] == [
        ("daemon-reload",),
        ("enable", "mailroom-dashboard.service"),
        ("restart", "mailroom-dashboard.service"),
    ]
    with pytest.raises(MailroomError, match="is a user service"):
        plan_dashboard(ServiceManager(machine=True, service=DASHBOARD), PROGRAM)


def test_the_system_service_creates_its_user_first_and_never_removes_it() -> None:
    manager = ServiceManager(machine=True)
    described = [str(step) for step in plan_install(manager, Path("/opt/mailroom/bin/mailroomd"))]
    assert described[:3] == [
        "write /etc/sysusers.d/mailroom.conf",
        "run systemd-sysusers /etc/sysusers.d/mailroom.conf",
        "write /etc/systemd/system/mailroomd.service",
    ]
    assert not any("userdel" in str(step) for step in plan_uninstall(manager))


def test_a_program_in_a_home_directory_is_refused_for_the_system_service() -> None:
    with pytest.raises(MailroomError, match=r"/home/ana/\.local/bin/mailroomd is in a home directory"):
        plan_install(ServiceManager(machine=True), Path("/home/ana/.local/bin/mailroomd"))


def test_a_failed_command_is_reported_with_its_first_error_line() -> None:
    with pytest.raises(MailroomError, match=r"^sh -c 'echo no >&2; exit 3' failed: no \(look there\)$"):
        RunCommand(("sh", "-c", "echo no >&2; exit 3"), "look there").apply()


def test_systemd_can_create_the_user_of_the_system_service(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "mailroom.conf"
    file.write_text(system_user())
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(file)], check=True, capture_output=True)
    (user,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    assert re.fullmatch(r"mailroom:[^:]*:\d+:\d+:Mailroom daemon:/var/lib/mailroom:.*nologin", user)
