"""What the service manager hears: ready when mail is taken, how it is, and a watchdog that a stuck worker starves."""

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
    """What a report looks at."""

    name: str
    state: WorkerState = RUNNING
    trouble: str = ""
    restarts: int = 0


@dataclass
class Scene:
    """A report with three healthy workers, and a clock that the test turns."""

    systemd: ServiceSocket
    report: ServiceReport
    workers: list[FakeChild]
    turn_clock: Callable[[float], None]

    def look(self, *, all_fresh: bool = True) -> None:
        self.report.look(cast("list[Child]", self.workers), ADDRESSES, all_fresh=all_fresh)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    now = [100.0]

    def turn_clock(seconds: float) -> None:
        now[0] += seconds

    with service_socket(tmp_path / "n") as systemd:
        report = ServiceReport(Notifier(systemd.address, watchdog_sec=8.0), lambda: now[0])
        yield Scene(
            systemd, report, [FakeChild("command-queue"), FakeChild("mailbox"), FakeChild("gateway")], turn_clock
        )


def test_ready_is_said_once_when_every_worker_runs_and_the_gateway_takes_mail(scene: Scene) -> None:
    scene.workers[2].state = WorkerState.STARTING
    scene.look()
    scene.workers[2].state = RUNNING
    scene.workers[2].trouble = "the database cannot be written (a full disk?)"
    scene.look()
    assert scene.systemd.values("READY") == []
    scene.workers[2].trouble = ""
    scene.look()
    scene.workers[1].state = WorkerState.RESTARTING
    scene.look()
    scene.workers[1].state = RUNNING
    scene.look()
    assert scene.systemd.values("READY") == ["1"]
    assert scene.systemd.values("STATUS") == [
        "Takes no mail: gateway is starting",
        "Takes no mail: the database cannot be written (a full disk?)",
        "Takes mail on unix:/run/a.sock",
        "Takes no mail: mailbox is restarting",
        "Takes mail on unix:/run/a.sock",
    ]


def test_the_status_counts_restarts_and_is_said_only_when_it_changes(scene: Scene) -> None:
    scene.look()
    scene.workers[0].restarts, scene.workers[1].restarts = 2, 1
    scene.look()
    scene.look()
    assert scene.systemd.values("STATUS")[1:] == ["Takes mail on unix:/run/a.sock (3 worker restarts so far)"]


def test_the_watchdog_is_fed_four_times_in_its_period_and_no_more(scene: Scene) -> None:
    scene.look()
    for _ in range(20):
        scene.turn_clock(0.4)
        scene.look()
    assert scene.report.feed_every_sec == 2.0
    assert len(scene.systemd.values("WATCHDOG")) == 5


def test_a_worker_that_is_stuck_starves_the_watchdog_a_full_disk_does_not(scene: Scene) -> None:
    scene.look()
    scene.turn_clock(3)
    scene.look(all_fresh=False)
    assert len(scene.systemd.values("WATCHDOG")) == 1
    scene.workers[2].trouble = "the database cannot be written (a full disk?)"
    scene.look()
    assert len(scene.systemd.values("WATCHDOG")) == 2


def test_a_start_that_lives_gets_the_time_it_needs_and_afterwards_no_more(scene: Scene) -> None:
    scene.workers[0].state = WorkerState.STARTING
    scene.look()
    scene.turn_clock(3)
    scene.look()
    assert scene.systemd.values("EXTEND_TIMEOUT_USEC") == ["30000000"] * 2
    scene.workers[0].state = RUNNING
    scene.turn_clock(3)
    scene.look()
    assert len(scene.systemd.values("EXTEND_TIMEOUT_USEC")) == 2


def test_a_reload_is_announced_and_ended_but_makes_nobody_ready_who_was_not(scene: Scene) -> None:
    scene.report.reloading()
    scene.report.reloaded()
    assert scene.systemd.values("READY") == []
    scene.look()
    scene.report.reloading()
    scene.report.reloaded()
    said = [said for said in scene.systemd.heard() if "READY" in said or "RELOADING" in said]
    assert [next(iter(one)) for one in said] == ["RELOADING", "READY", "RELOADING", "READY"]
    assert said[0]["MONOTONIC_USEC"].isdigit()
