"""A token bucket: a steady rate, room for bursts, and a debt that is paid off first."""

from hypothesis import given
from hypothesis import strategies as st
from mailroomd.core.rate_limit import RateLimit


def test_a_burst_passes_and_then_the_rate() -> None:
    limit = RateLimit(10, 5, now_sec=0)
    assert [limit.consume(1, 0) for _ in range(6)] == [0, 0, 0, 0, 0, 100]
    assert limit.consume(1, 0.1) == 0
    assert limit.consume(1, 0.1) == 100


def test_a_batch_larger_than_the_bucket_passes_and_leaves_a_debt() -> None:
    limit = RateLimit(100, 10, now_sec=0)
    assert limit.consume(1000, 0) == 0
    wait_ms = limit.consume(1, 0)
    assert wait_ms == 9910
    assert limit.consume(1, wait_ms / 1000 - 0.02) > 0
    assert limit.consume(1, wait_ms / 1000) == 0


def test_a_refused_request_costs_nothing() -> None:
    limit = RateLimit(1, 1, now_sec=0)
    assert limit.consume(1, 0) == 0
    assert {limit.consume(1, 0) for _ in range(10)} == {1000}
    assert limit.consume(1, 1) == 0


def test_the_bucket_refills_up_to_its_capacity() -> None:
    limit = RateLimit(2, 4, now_sec=0)
    assert limit.is_full(0)
    limit.consume(4, 0)
    assert not limit.is_full(1.9)
    assert limit.is_full(2)
    assert [limit.consume(1, 1000) for _ in range(5)] == [0, 0, 0, 0, 500]


def test_a_clock_that_stands_still_or_goes_back_refills_nothing() -> None:
    limit = RateLimit(10, 1, now_sec=5)
    assert limit.consume(1, 5) == 0
    assert limit.consume(1, 4) == 100
    assert limit.consume(1, 5) == 100


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), max_size=50))
def test_no_more_passes_than_the_rate_the_burst_and_one_batch(steps: list[tuple[float, int]]) -> None:
    limit, now, passed = RateLimit(10, 20, now_sec=0), 0.0, 0
    for pause_sec, cost in steps:
        now += pause_sec
        passed += cost if limit.consume(cost, now) == 0 else 0
    assert passed <= 10 * now + 20 + 50


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), max_size=50))
def test_a_client_that_waits_as_told_gets_through(steps: list[tuple[float, int]]) -> None:
    limit, now = RateLimit(10, 20, now_sec=0), 0.0
    for pause_sec, cost in steps:
        now += pause_sec
        if wait_ms := limit.consume(cost, now):
            now += wait_ms / 1000
            assert limit.consume(cost, now) == 0
