"""Which workers are stuck, by a clock that the test moves."""

import pytest
from mailroomd.core.liveness import Liveness

SEC = 1_000_000_000


def check_at(liveness: Liveness, clock: list[int], *seconds: float) -> None:
    for second in seconds:
        clock[0] = int(second * SEC)
        liveness.record_check()


def every_second(until: int) -> list[float]:
    return [float(second) for second in range(until + 1)]


def test_a_worker_with_a_recent_heartbeat_is_not_stuck() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    check_at(liveness, clock, *every_second(60))
    assert not liveness.is_stuck(last_beat_ns=51 * SEC, started_ns=0, patience_sec=10.0)


def test_a_worker_silent_for_longer_than_its_patience_is_stuck() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    check_at(liveness, clock, *every_second(60))
    assert liveness.is_stuck(last_beat_ns=49 * SEC, started_ns=0, patience_sec=10.0)
    assert not liveness.is_stuck(last_beat_ns=49 * SEC, started_ns=0, patience_sec=30.0)


def test_a_new_worker_is_not_judged_by_its_predecessors_heartbeat() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    check_at(liveness, clock, *every_second(60))
    assert not liveness.is_stuck(last_beat_ns=3 * SEC, started_ns=55 * SEC, patience_sec=10.0)


def test_after_a_late_check_every_worker_gets_one_full_period() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    check_at(liveness, clock, *every_second(20), 100.0)
    assert not liveness.is_stuck(last_beat_ns=20 * SEC, started_ns=0, patience_sec=10.0)
    check_at(liveness, clock, *(100.0 + second for second in range(1, 11)))
    assert not liveness.is_stuck(last_beat_ns=20 * SEC, started_ns=0, patience_sec=10.0)
    check_at(liveness, clock, 111.0)
    assert liveness.is_stuck(last_beat_ns=20 * SEC, started_ns=0, patience_sec=10.0)


@pytest.mark.parametrize("stuck_after_sec", [0.5, 1.0, 10.0, 3600.0])
def test_lateness_too_small_to_notice_makes_no_worker_stuck(
    stuck_after_sec: float,
) -> None:
    """Everything pauses together, just too briefly to count as late; the worker was about to send a heartbeat."""
    clock = [0]
    liveness = Liveness(stuck_after_sec, lambda: clock[0])
    interval = liveness.judge_every_sec
    paused_sec = max(stuck_after_sec / 2, 2 * interval) - 0.001
    check_at(liveness, clock, *(turn * interval for turn in range(1, 20)), 19 * interval + paused_sec)
    last_beat_ns = int((19 - 1) * interval * SEC)
    assert not liveness.is_stuck(last_beat_ns, 0, stuck_after_sec)
