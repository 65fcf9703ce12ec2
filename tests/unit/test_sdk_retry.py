"""The decision whether and when to retry, without sleeping."""

import math

import pytest
from mailroom.addresses import Address
from mailroom.errors import Cancelled, DaemonNotRunning, MailroomError, NotFound, ResourceExhausted, Unavailable
from mailroom.retry import LONGEST_DELAY_SEC, Backoff, Contact, Retries


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_delays_double_up_to_a_limit_and_start_over() -> None:
    backoff = Backoff(rng=lambda: 0.0)
    delays = [backoff.next_sec() for _ in range(9)]
    assert delays[:3] == [0.05, 0.1, 0.2]
    assert max(delays) == LONGEST_DELAY_SEC
    backoff.reset()
    assert backoff.next_sec() == 0.05


def test_jitter_takes_at_most_half() -> None:
    assert Backoff(rng=lambda: 1.0).next_sec() == 0.025


@pytest.mark.parametrize("error", [NotFound("x"), ResourceExhausted("x"), MailroomError("x")])
def test_other_errors_are_never_retried(error: MailroomError) -> None:
    retries = Retries(Contact(Address("x:1"), answered=True), grace_sec=2, timeout_sec=30)
    with pytest.raises(type(error)):
        retries.delay_after(error)


@pytest.mark.parametrize("timeout_sec", [30.0, math.inf])
def test_a_call_outlives_a_cancelling_server(timeout_sec: float) -> None:
    retries = Retries(Contact(Address("x:1"), answered=True), grace_sec=2, timeout_sec=timeout_sec)
    assert retries.delay_after(Cancelled("x")) > 0


def test_the_daemons_own_delay_is_respected() -> None:
    retries = Retries(Contact(Address("x:1")), grace_sec=2, timeout_sec=30)
    assert retries.delay_after(Unavailable("x", reason="WORKER_RESTARTING", retry_after_sec=7.0)) == 7.0


def test_an_unreachable_daemon_is_retried_for_the_grace_period_only() -> None:
    clock = Clock()
    retries = Retries(Contact(Address("x:1", ("here", "there"))), grace_sec=2, timeout_sec=30, clock=clock)
    silence = Unavailable("failed to connect to all addresses; last error: x: Connection refused")
    retries.delay_after(silence)
    clock.now += 1.99
    with pytest.raises(DaemonNotRunning) as caught:
        retries.delay_after(silence)
    assert "Connection refused" in caught.value.message
    assert caught.value.tried == ("here", "there")
    assert caught.value.__cause__ is silence


def test_a_daemon_that_answered_before_is_retried_until_the_timeout() -> None:
    clock = Clock()
    retries = Retries(Contact(Address("x:1"), answered=True), grace_sec=2, timeout_sec=30, clock=clock)
    clock.now += 29
    retries.delay_after(Unavailable("socket closed"))
    clock.now += 1
    with pytest.raises(DaemonNotRunning):
        retries.delay_after(Unavailable("socket closed"))
