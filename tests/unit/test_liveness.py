"""Who is stuck, against a clock that the test moves."""

import pytest
from mailroomd.core.liveness import Liveness

SEC = 1_000_000_000


def judge_at(liveness: Liveness, clock: list[int], *seconds: float) -> None:
    for second in seconds:
        clock[0] = int(second * SEC)
        liveness.awake()


def every_second(until: int) -> list[float]:
    return [float(second) for second in range(until + 1)]


def test_a_worker_that_beats_is_not_stuck() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    judge_at(liveness, clock, *every_second(60))
    assert not liveness.is_stuck(last_beat_ns=51 * SEC, started_ns=0, patience_sec=10.0)


def test_a_worker_that_has_been_silent_for_longer_than_its_patience_is_stuck() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    judge_at(liveness, clock, *every_second(60))
    assert liveness.is_stuck(last_beat_ns=49 * SEC, started_ns=0, patience_sec=10.0)
    assert not liveness.is_stuck(last_beat_ns=49 * SEC, started_ns=0, patience_sec=30.0)


def test_a_new_worker_is_not_blamed_for_the_heartbeat_of_its_predecessor() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    judge_at(liveness, clock, *every_second(60))
    assert not liveness.is_stuck(last_beat_ns=3 * SEC, started_ns=55 * SEC, patience_sec=10.0)


def test_a_judge_that_was_late_gives_everyone_a_fresh_period_and_only_one() -> None:
    clock = [0]
    liveness = Liveness(10.0, lambda: clock[0])
    judge_at(liveness, clock, *every_second(20), 100.0)
    assert not liveness.is_stuck(last_beat_ns=20 * SEC, started_ns=0, patience_sec=10.0)
    judge_at(liveness, clock, *(100.0 + second for second in range(1, 11)))
    assert not liveness.is_stuck(last_beat_ns=20 * SEC, started_ns=0, patience_sec=10.0)
    judge_at(liveness, clock, 111.0)
    assert liveness.is_stuck(last_beat_ns=20 * SEC, started_ns=0, patience_sec=10.0)


@pytest.mark.parametrize("stuck_after_sec", [0.5, 1.0, 10.0, 3600.0])
def test_no_lateness_that_goes_unnoticed_makes_a_worker_stuck_that_was_stopped_with_the_judge(
    stuck_after_sec: float,
) -> None:
    """Everything stops together, just short of what counts as late; the worker had just not beaten yet."""
    clock = [0]
    liveness = Liveness(stuck_after_sec, lambda: clock[0])
    interval = liveness.judge_every_sec
    stopped_for = max(stuck_after_sec / 2, 2 * interval) - 0.001
    judge_at(liveness, clock, *(turn * interval for turn in range(1, 20)), 19 * interval + stopped_for)
    last_beat_ns = int((19 - 1) * interval * SEC)
    assert not liveness.is_stuck(last_beat_ns, 0, stuck_after_sec)
