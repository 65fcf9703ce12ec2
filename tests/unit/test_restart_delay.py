"""The delay before the restart of a worker that ran out of something, against a clock that the test moves."""

from mailroomd.core.backoff import FIRST_SEC, LONGEST_SEC
from mailroomd.core.restart_delay import QUIET_SEC, RestartDelay


def test_the_delay_doubles_up_to_a_limit_and_starts_anew_after_a_quiet_period() -> None:
    now = [0.0]
    delay = RestartDelay(lambda: now[0])
    assert delay.is_over()
    delays = [delay.after_shortage() for _ in range(8)]
    assert delays == [min(FIRST_SEC * 2**index, LONGEST_SEC) for index in range(8)]
    assert not delay.is_over()
    now[0] += LONGEST_SEC
    assert delay.is_over()
    now[0] += QUIET_SEC
    assert delay.after_shortage() == FIRST_SEC
