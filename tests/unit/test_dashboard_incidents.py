"""What happened to the daemon, as the pages show it among the mail: once each, at its time."""

from datetime import UTC, datetime

from mailroom.stats import WorkerStatus
from mailroom_apps.dashboard.incidents import Incidents

MS = 1_764_000_000_000


def worker(name: str, started_ms: int, restarts: int = 0, last_exit: str = "") -> WorkerStatus:
    started = datetime.fromtimestamp(started_ms / 1000, UTC) if started_ms else None
    return WorkerStatus(name, 7, "running", restarts, started, last_exit)


def sentences(incidents: Incidents) -> list[str]:
    return [each["sentence"] for each in incidents.latest()]


def test_a_restart_of_a_worker_is_told_once_at_the_time_of_its_start() -> None:
    incidents = Incidents()
    incidents.record_workers([worker("gateway", MS), worker("mailbox", MS)])
    assert incidents.latest() == []
    after = [worker("gateway", MS + 5_000, 1, "killed by SIGKILL"), worker("mailbox", MS)]
    incidents.record_workers(after)
    incidents.record_workers(after)
    (one,) = incidents.latest()
    assert one["sentence"] == "the worker gateway was restarted (killed by SIGKILL)"
    assert (one["at"], one["view"]) == ("2025-11-24T16:00:05.000Z", "health")


def test_a_restart_before_the_first_look_is_known_from_the_status() -> None:
    incidents = Incidents()
    incidents.record_workers([worker("gateway", MS, 2, "exit code 1"), worker("mailbox", MS)])
    assert sentences(incidents) == ["the worker gateway was restarted (exit code 1)"]


def test_a_daemon_that_was_started_again_is_one_line_whatever_its_workers_are() -> None:
    incidents = Incidents()
    names = ("gateway", "mailbox", "command-queue")
    incidents.record_workers([worker(name, MS) for name in names])
    incidents.record_workers([worker("gateway", 0)])  # between two processes
    incidents.record_workers([worker(name, MS + 9_000) for name in names])
    assert sentences(incidents) == ["the daemon was started again"]


def test_the_loop_guard_is_told_once_a_minute() -> None:
    incidents = Incidents()
    for at_ms, count in ((0, 0), (1_000, 3), (2_000, 5), (61_000, 1)):
        incidents.record_refusals({"LOOP_GUARD": count, "MAILBOX_FULL": 9}, MS + at_ms)
    assert sentences(incidents) == [
        "the loop guard refused a send: two agents answer each other too fast",
        "the loop guard refused 3 sends: two agents answer each other too fast",
    ]


def test_ids_sort_among_those_of_messages_and_are_unique() -> None:
    incidents = Incidents()
    for number in range(3):
        incidents.record_workers([worker(f"worker-{number}", MS, 1)])
    ids = [each["id"] for each in incidents.latest()]
    assert len(set(ids)) == 3
    assert all(f"{(MS - 1) << 20:016x}" < each < f"{(MS + 1) << 20:016x}" for each in ids)


def test_only_the_latest_are_kept() -> None:
    incidents = Incidents()
    for number in range(300):
        incidents.record_workers([worker("gateway", MS + number, number + 1)])
    assert len(incidents.latest()) == 100
    assert incidents.latest()[0]["at"] > incidents.latest()[-1]["at"]
