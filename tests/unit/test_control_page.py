"""Heartbeats and statuses on the control page."""

import time

from mailroomd.ipc.control_page import ControlPage, DaemonStatus, WorkerState, WorkerStatus


def test_each_worker_writes_its_own_heartbeat_in_monotonic_nanoseconds() -> None:
    page = ControlPage.create(3)
    assert [page.last_beat(index) for index in range(3)] == [0, 0, 0]
    before = time.monotonic_ns()
    page.beat(1)
    assert before <= page.last_beat(1) <= time.monotonic_ns()
    assert (page.last_beat(0), page.last_beat(2)) == (0, 0)
    page.close()


def test_statuses_are_read_as_written_and_missing_ones_are_left_out() -> None:
    page = ControlPage.create(2)
    daemon = DaemonStatus("0.1.0", 1_700_000_000_000, 42)
    worker = WorkerStatus("mailbox", 43, WorkerState.RUNNING, 2, 1_700_000_000_001, "killed by SIGKILL")
    page.write_daemon(daemon)
    assert page.statuses() == ()
    page.write_status(1, worker)
    assert page.statuses() == (worker,)
    assert page.daemon() == daemon
    page.close()


def test_an_overlong_last_exit_is_cut() -> None:
    page = ControlPage.create(1)
    page.write_status(0, WorkerStatus("mailbox", 2**31, WorkerState.RESTARTING, 10**9, 2**53, "ü" * 1000))
    assert page.statuses()[0].last_exit == "ü" * 120
    page.close()
