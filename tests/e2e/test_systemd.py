"""The user unit under a real systemd: readiness, crashes, watchdog, reload, stop, upgrade; no mail is ever lost.

The tests share a service manager. Each starts with the service running, whatever the previous one did.
"""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mailroom.v1 import mailroom_pb2 as pb
from support.faults.small_disk import SmallDisk, small_disk
from support.harness.contract import blocking_stubs
from support.harness.systemd import Systemd, systemd_user
from support.harness.waiting import wait_until

pytestmark = pytest.mark.system

UNIT = "mailroomd.service"
REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Short times for the tests: a restart after 0.1 s, a watchdog of 2 s.
QUICK = ("RestartSec=100ms", "WatchdogSec=2")
WORKERS = ("command-queue", "mailbox", "gateway")


@dataclass
class Service:
    """The installed service, and the messages sent through it."""

    systemd: Systemd
    disk: SmallDisk
    listens_on: str = ""
    sent: list[str] = field(default_factory=list[str])

    @property
    def address(self) -> str:
        return self.listens_on or f"unix:{self.systemd.home}/s/m.sock"

    @property
    def config(self) -> Path:
        return self.systemd.home / ".config" / "mailroom" / "mailroomd.toml"

    def configure(self, *lines: str) -> None:
        """Writes the daemon's configuration file."""
        required = [f'listen = "{self.address}"', f'state-dir = "{self.disk.path}/state"', 'max-restarts = "1000/10"']
        self.config.write_text("\n".join([*required, *lines, ""]))

    def cli(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs `mailroom`."""
        return self.systemd.run(str(BIN / "mailroom"), *words, check=check)

    def state(self, name: str) -> str:
        """Returns one property of the unit."""
        return self.systemd.show(UNIT, name)[name]

    def restarts(self) -> int:
        return int(self.state("NRestarts"))

    def send(self) -> None:
        """Sends one message; it has been accepted when this returns."""
        text = f"mail {len(self.sent)}"
        channel, stubs = blocking_stubs(self.address)
        with channel:
            request = pb.SendMessageRequest(recipient="abc", sender="systemd", content=text)
            stubs.send(request, timeout=10, wait_for_ready=True)
        self.sent.append(text)

    def assert_no_mail_is_lost(self) -> None:
        """Checks that every accepted message is unread in its mailbox, once and in order."""
        channel, stubs = blocking_stubs(self.address)
        with channel:
            response = stubs.check_inbox(
                pb.CheckInboxRequest(agent="abc", observe=True, limit=1000), timeout=10, wait_for_ready=True
            )
        assert [message.content for message in response.messages] == self.sent

    def workers(self) -> dict[str, int]:
        """Returns the process id, inside, of each running worker; empty while the daemon does not respond."""
        channel, stubs = blocking_stubs(self.address)
        with channel, suppress(grpc.RpcError):
            response = stubs.status(pb.GetStatusRequest(), timeout=2)
            return {worker.name: worker.pid for worker in response.workers if worker.state == "running"}
        return {}

    def kill(self, pid: int | str, signum: int) -> None:
        self.systemd.run("kill", f"-{signum}", str(pid))

    def wait_active(self) -> None:
        wait_until(lambda: self.state("ActiveState") == "active", "the service is active", step_sec=0.05)


@pytest.fixture(scope="module")
def installed() -> Iterator[Service]:
    """The service as `mailroom service install` installs it."""
    directory = Path(tempfile.mkdtemp(prefix="mrs-"))
    with small_disk(directory / "disk") as disk, systemd_user(directory) as systemd:
        service = Service(systemd, disk)
        service.config.parent.mkdir(parents=True)
        service.configure()
        systemd.drop_in(UNIT, QUICK)
        output = service.cli("service", "install").stdout
        assert output == f"installed {systemd.unit_dir / UNIT}: Serving on {service.address}\n"
        yield service
    subprocess.run(["rm", "-r", str(directory)], check=True)


@pytest.fixture
def service(installed: Service) -> Service:
    """The service, running."""
    if installed.state("ActiveState") != "active":
        installed.configure()
        installed.systemd.systemctl("reset-failed", UNIT, check=False)  # a stopped unit is not even loaded
        installed.systemd.systemctl("restart", UNIT)
    installed.send()
    return installed


def is_serving(service: Service) -> bool:
    with grpc.insecure_channel(service.address) as channel:
        response = cast("Any", health_pb2_grpc).HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return response.status == health_pb2.HealthCheckResponse.SERVING


def test_the_service_becomes_active_when_health_is_serving(service: Service) -> None:
    service.systemd.systemctl("stop", UNIT)
    service.disk.fill()
    service.systemd.systemctl("start", "--no-block", UNIT)
    wait_until(lambda: "cannot be written" in service.state("StatusText"), "the status says why mail is not accepted")
    assert service.state("ActiveState") == "activating"
    assert service.workers().keys() == set(WORKERS)
    assert not is_serving(service)
    service.disk.make_room()
    service.wait_active()
    assert is_serving(service)
    assert service.restarts() == 0
    service.assert_no_mail_is_lost()


def test_a_killed_daemon_is_restarted_with_all_mail(service: Service) -> None:
    before, pid = service.restarts(), service.state("MainPID")
    service.kill(pid, signal.SIGKILL)
    wait_until(lambda: service.restarts() == before + 1, "systemd restarts the daemon", step_sec=0.05)
    service.wait_active()
    assert service.state("MainPID") != pid
    service.assert_no_mail_is_lost()


@pytest.mark.parametrize("name", WORKERS)
def test_a_killed_worker_is_restarted_by_the_supervisor_not_by_systemd(service: Service, name: str) -> None:
    before, main, killed = service.restarts(), service.state("MainPID"), service.workers()[name]
    service.kill(killed, signal.SIGKILL)
    wait_until(lambda: service.workers().get(name, killed) != killed, f"{name} is replaced")
    wait_until(lambda: "worker restarts so far" in service.state("StatusText"), "the status counts it", step_sec=0.05)
    assert (service.restarts(), service.state("MainPID"), service.state("ActiveState")) == (before, main, "active")
    service.assert_no_mail_is_lost()


def test_a_hung_supervisor_is_restarted_by_the_watchdog(service: Service) -> None:
    before = service.restarts()
    service.kill(service.state("MainPID"), signal.SIGSTOP)
    wait_until(lambda: service.restarts() == before + 1, "the watchdog restarts the daemon", step_sec=0.05)
    service.wait_active()
    service.assert_no_mail_is_lost()
    lines = [entry["MESSAGE"] for entry in service.systemd.journal(UNIT)]
    assert any("supervisor.py" in line and "in _wait" in line for line in lines), "the journal shows where it hung"


def test_a_reload_changes_settings_without_a_restart(service: Service) -> None:
    pid = service.state("MainPID")
    service.configure(f"max-unread = {len(service.sent)}", "gateways = 1", 'stuck-after = "11s"')
    service.systemd.systemctl("reload", UNIT)
    reloaded = lambda: [entry for entry in service.systemd.journal(UNIT) if ": settings reloaded" in entry["MESSAGE"]]  # noqa: E731
    assert "changed=['max-unread']" in wait_until(reloaded, "the journal reports the reload")[-1]["MESSAGE"]
    with pytest.raises(grpc.RpcError) as refused:
        service.send()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # pyright: ignore[reportAttributeAccessIssue]
    warnings = [entry["MESSAGE"] for entry in service.systemd.journal(UNIT, "--priority=warning")]
    assert any("changed settings need a restart settings=['stuck-after']" in line for line in warnings)
    service.configure()
    service.systemd.systemctl("reload", UNIT)
    wait_until(lambda: len(reloaded()) == 2, "the journal reports both reloads")
    service.send()
    assert (service.state("MainPID"), service.state("ActiveState")) == (pid, "active")


def test_an_invalid_file_prevents_a_start_and_further_restarts(service: Service) -> None:
    service.configure("max-unreed = 7")
    assert service.systemd.systemctl("restart", UNIT, check=False).returncode
    assert (service.state("ActiveState"), service.state("ExecMainStatus")) == ("failed", str(os.EX_CONFIG))
    assert service.state("NRestarts") == "0"
    errors = [entry["MESSAGE"] for entry in service.systemd.journal(UNIT, "--priority=err")]
    assert f"mailroomd: {service.config} has an unknown key 'max-unreed'; did you mean 'max-unread'?" in errors


def test_a_stop_is_clean_and_leaves_no_process(service: Service) -> None:
    service.systemd.systemctl("stop", UNIT)
    shown = service.systemd.show(UNIT, "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert "mailroomd" not in service.systemd.run("ps", "-eo", "args").stdout
    assert service.cli("service", "status", check=False).returncode == os.EX_UNAVAILABLE


def test_an_upgrade_is_a_second_install_and_keeps_all_mail(service: Service) -> None:
    pid = service.state("MainPID")
    assert service.cli("service", "install").returncode == 0
    assert service.state("MainPID") != pid
    service.assert_no_mail_is_lost()
    service.send()
    service.assert_no_mail_is_lost()


def test_service_logs_and_status_come_from_systemd(service: Service) -> None:
    assert "supervisor: ready version=" in service.cli("service", "logs").stdout
    assert service.address in service.cli("service", "status").stdout
    assert service.cli("service", "logs", "--errors", "--lines", "1").stdout.count("\n") == 1


def test_uninstalling_the_service_keeps_its_mail(service: Service) -> None:
    service.cli("service", "uninstall")
    assert not (service.systemd.unit_dir / UNIT).exists()
    assert service.cli("service", "status", check=False).stderr == (
        "mailroom: the service is not installed; install it with `mailroom service install`\n"
    )
    assert service.cli("service", "uninstall").stderr == "mailroom: the service is not installed\n"
    service.cli("service", "install")
    service.assert_no_mail_is_lost()


def test_the_dashboard_runs_beside_the_daemon_and_its_links_are_in_no_journal(service: Service) -> None:
    unit = "mailroom-dashboard.service"
    program = f"ExecStart={BIN}/mailroom dashboard --no-open --no-link --listen 127.0.0.1:0"
    service.systemd.drop_in(
        unit, ["ExecStart=", program, f"Environment=MAILROOM_ADDRESS={service.address}", *QUICK[:1]]
    )
    assert "`mailroom dashboard link` opens it" in service.cli("service", "install", "--dashboard").stdout

    def addresses() -> list[str]:
        entries = service.systemd.journal(unit)
        return [port for entry in entries for port in re.findall(r"ready at http://127.0.0.1:(\d+)/", entry["MESSAGE"])]

    wait_until(lambda: len(addresses()) == 1, "the dashboard says where it is")
    link = service.cli("dashboard", "link", "--listen", f"127.0.0.1:{addresses()[0]}").stdout.strip()
    assert link.startswith(f"http://127.0.0.1:{addresses()[0]}/#k=")
    with urllib.request.urlopen(link.partition("#")[0], timeout=10) as response:
        assert response.status == 200
    service.kill(service.systemd.show(unit, "MainPID")["MainPID"], signal.SIGKILL)
    wait_until(lambda: len(addresses()) == 2, "it is restarted")
    assert "#k=" not in str(service.systemd.journal(unit))
    assert service.cli("service", "status", "--dashboard").returncode == 0
    service.cli("service", "uninstall", "--dashboard")
    assert not (service.systemd.unit_dir / unit).exists()
    assert service.cli("service", "status", "--dashboard", check=False).returncode == os.EX_UNAVAILABLE
    service.assert_no_mail_is_lost()


def test_the_daemon_works_in_the_sandbox_of_the_system_unit(installed: Service) -> None:
    systemd, unit = installed.systemd, "machine.service"
    directory = systemd.home / "machine"
    directory.mkdir()
    address = f"unix:{directory}/run/m.sock"
    packages = sysconfig.get_path("purelib")
    text = (REPOSITORY / "systemd" / "mailroomd.service").read_text()
    (systemd.unit_dir / unit).write_text(text)
    # A user's manager has other directories (its own are below /run/user, which cannot be hidden from it), and another
    # user might not be able to read this checkout. So user and directories are the test's, every other restriction is
    # the unit's.
    systemd.drop_in(
        unit,
        [
            "User=",
            "Group=",
            *("StateDirectory=", "RuntimeDirectory=", "ConfigurationDirectory="),
            *("PrivateTmp=no", "ProtectHome=read-only"),
            f"ReadWritePaths={directory}",
            f"BindReadOnlyPaths={sys.base_prefix}:/run/t/base {packages}:/run/t/site",
            f"BindReadOnlyPaths={REPOSITORY}/daemon:/run/t/daemon {REPOSITORY}/clients/python:/run/t/clients",
            "Environment=PYTHONPATH=/run/t/daemon:/run/t/clients:/run/t/site PYTHONDONTWRITEBYTECODE=1",
            f"Environment=MAILROOM_ROOT={directory}/root MAILROOM_STATE_DIR={directory}/state",
            f"Environment=MAILROOM_LISTEN={address}",
            "ExecStart=",
            f"ExecStart=/run/t/base/bin/python{sys.version_info[0]}.{sys.version_info[1]} -m mailroomd",
        ],
    )
    started = systemd.systemctl("start", unit, check=False)
    assert started.returncode == 0, "\n".join(entry["MESSAGE"] for entry in systemd.journal(unit))
    machine = Service(systemd, installed.disk, listens_on=address)
    machine.send()
    machine.assert_no_mail_is_lost()
    assert [path.stat().st_mode & 0o777 for path in (directory / "root").glob("inbox/abc/*.json")] == [0o600]
    status = systemd.run("cat", f"/proc/{systemd.show(unit, 'MainPID')['MainPID']}/status").stdout
    held = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert (held["CapBnd"], held["CapEff"], held["NoNewPrivs"], held["Seccomp"]) == ("0" * 16, "0" * 16, "1", "2")
    systemd.systemctl("stop", unit)
