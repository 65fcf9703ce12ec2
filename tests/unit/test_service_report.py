"""What the service manager is told: readiness, status, and a watchdog that a stuck worker starves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from mailroomd.ipc.control_page import WorkerState
from mailroomd.supervisor.child import Child
from mailroomd.supervisor.notifier import Notifier
from mailroomd.supervisor.service_report import ServiceReport
from support.fakes.service_socket import ServiceSocket, service_socket

RUNNING = WorkerState.RUNNING
ADDRESSES = ("unix:/run/a.sock",)


@dataclass
class FakeChild:
    """The part of a child that a report reads."""

    name: str
    state: WorkerState = RUNNING
    problem: str = ""
    restarts: int = 0


@dataclass
class Scene:
    """A report with three healthy workers, and a clock that the test advances."""

    systemd: ServiceSocket
    report: ServiceReport
    workers: list[FakeChild]
    advance_clock: Callable[[float], None]

    def update(self, *, all_fresh: bool = True) -> None:
        self.report.update(cast("list[Child]", self.workers), ADDRESSES, all_fresh=all_fresh)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    now = [100.0]

    def advance_clock(seconds: float) -> None:
        now[0] += seconds

    with service_socket(tmp_path / "n") as systemd:
        report = ServiceReport(Notifier(systemd.address, watchdog_sec=8.0), lambda: now[0])
        yield Scene(
            systemd, report, [FakeChild("command-queue"), FakeChild("mailbox"), FakeChild("gateway")], advance_clock
        )


def test_ready_is_sent_once_when_every_worker_runs_and_mail_is_accepted(scene: Scene) -> None:
    scene.workers[2].state = WorkerState.STARTING
    scene.update()
    scene.workers[2].state = RUNNING
    scene.workers[2].problem = "the database cannot be written (a full disk?)"
    scene.update()
    assert scene.systemd.values("READY") == []
    scene.workers[2].problem = ""
    scene.update()
    scene.workers[1].state = WorkerState.RESTARTING
    scene.update()
    scene.workers[1].state = RUNNING
    scene.update()
    assert scene.systemd.values("READY") == ["1"]
    assert scene.systemd.values("STATUS") == [
        "Not accepting mail: gateway is starting",
        "Not accepting mail: the database cannot be written (a full disk?)",
        "Serving on unix:/run/a.sock",
        "Not accepting mail: mailbox is restarting",
        "Serving on unix:/run/a.sock",
    ]


def test_the_status_counts_restarts_and_is_sent_only_when_it_changes(scene: Scene) -> None:
    scene.update()
    scene.workers[0].restarts, scene.workers[1].restarts = 2, 1
    scene.update()
    scene.update()
    assert scene.systemd.values("STATUS")[1:] == ["Serving on unix:/run/a.sock (3 worker restarts so far)"]


def test_the_watchdog_is_fed_four_times_per_period(scene: Scene) -> None:
    scene.update()
    for _ in range(20):
        scene.advance_clock(0.4)
        scene.update()
    assert scene.report.feed_every_sec == 2.0
    assert len(scene.systemd.values("WATCHDOG")) == 5


def test_a_stuck_worker_starves_the_watchdog_but_a_full_disk_does_not(scene: Scene) -> None:
    scene.update()
    scene.advance_clock(3)
    scene.update(all_fresh=False)
    assert len(scene.systemd.values("WATCHDOG")) == 1
    scene.workers[2].problem = "the database cannot be written (a full disk?)"
    scene.update()
    assert len(scene.systemd.values("WATCHDOG")) == 2


def test_the_startup_timeout_is_extended_until_the_daemon_is_ready(scene: Scene) -> None:
    scene.workers[0].state = WorkerState.STARTING
    scene.update()
    scene.advance_clock(3)
    scene.update()
    assert scene.systemd.values("EXTEND_TIMEOUT_USEC") == ["30000000"] * 2
    scene.workers[0].state = RUNNING
    scene.advance_clock(3)
    scene.update()
    assert len(scene.systemd.values("EXTEND_TIMEOUT_USEC")) == 2


def test_a_reload_is_reported_but_does_not_make_the_daemon_ready(scene: Scene) -> None:
    scene.report.begin_reload()
    scene.report.end_reload()
    assert scene.systemd.values("READY") == []
    scene.update()
    scene.report.begin_reload()
    scene.report.end_reload()
    received = [variables for variables in scene.systemd.received() if {"READY", "RELOADING"} & variables.keys()]
    assert [next(iter(variables)) for variables in received] == ["RELOADING", "READY", "RELOADING", "READY"]
    assert received[0]["MONOTONIC_USEC"].isdigit()
