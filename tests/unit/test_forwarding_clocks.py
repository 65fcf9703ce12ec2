"""A time to live ends at the right moment here, whatever the two hosts' clocks say."""

import pytest
from mailroomd.core.forwarding.clocks import end_here_ms

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000  # by the hub
TTL_MS = 60_000


@pytest.mark.parametrize("sender_behind_ms", [-HOUR_MS, 0, 4_000, HOUR_MS])
@pytest.mark.parametrize("receiver_behind_ms", [-HOUR_MS, 0, -500, HOUR_MS])
def test_it_ends_at_the_right_moment_by_the_clock_of_the_receiver(
    sender_behind_ms: int, receiver_behind_ms: int
) -> None:
    sent_ms = NOW_MS - sender_behind_ms
    end_ms = end_here_ms(sent_ms + TTL_MS, sent_ms, NOW_MS, receiver_behind_ms)
    ends_by_the_hub_ms = end_ms + receiver_behind_ms
    assert abs(ends_by_the_hub_ms - (NOW_MS + TTL_MS)) <= 5_000


def test_small_differences_are_left_alone() -> None:
    assert end_here_ms(NOW_MS + TTL_MS, NOW_MS - 3_000, NOW_MS, -1_000) == NOW_MS + TTL_MS


@pytest.mark.parametrize(("end_ms", "sent_ms", "stored_ms"), [(0, 1, NOW_MS), (5, 0, NOW_MS), (5, 1, 0)])
def test_what_is_not_known_is_not_corrected(end_ms: int, sent_ms: int, stored_ms: int) -> None:
    assert end_here_ms(end_ms, sent_ms, stored_ms, HOUR_MS) == end_ms
