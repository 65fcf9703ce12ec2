"""OTP's restart intensity and period, by a clock that the test moves."""

from mailroomd.core.restart_policy import RestartPolicy
from mailroomd.model.settings import Intensity


def test_exactly_the_allowed_number_of_restarts_is_made() -> None:
    policy = RestartPolicy(Intensity(3, 10.0), lambda: 100.0)
    assert [policy.allow_restart() for _ in range(4)] == [True, True, True, False]


def test_restarts_older_than_the_period_do_not_count() -> None:
    times = iter([0.0, 1.0, 9.9, 10.0, 11.0, 12.0])
    policy = RestartPolicy(Intensity(3, 10.0), lambda: next(times))
    assert [policy.allow_restart() for _ in range(6)] == [True, True, True, True, True, False]


def test_zero_allows_no_restart() -> None:
    assert not RestartPolicy(Intensity(0, 10.0), lambda: 0.0).allow_restart()
