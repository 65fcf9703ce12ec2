"""OTP's intensity and period, against a clock that the test moves."""

from mailroomd.core.restart_policy import RestartPolicy
from mailroomd.model.settings import Intensity


def test_as_many_restarts_as_allowed_are_made_and_not_one_more() -> None:
    policy = RestartPolicy(Intensity(3, 10.0), lambda: 100.0)
    assert [policy.allow() for _ in range(4)] == [True, True, True, False]


def test_restarts_older_than_the_period_are_forgotten() -> None:
    times = iter([0.0, 1.0, 9.9, 10.0, 11.0, 12.0])
    policy = RestartPolicy(Intensity(3, 10.0), lambda: next(times))
    assert [policy.allow() for _ in range(6)] == [True, True, True, True, True, False]


def test_no_restart_at_all_can_be_asked_for() -> None:
    assert not RestartPolicy(Intensity(0, 10.0), lambda: 0.0).allow()
