"""One client alone cannot use up a limit that others share, and no limit is ever exceeded."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroomd.core import fair_share
from mailroomd.core.fair_share import Admission, FairShare, may_use, reserve_of


def use_up(share: FairShare, client: str, used: int, limit: int) -> int:
    """Lets a client take what it can get; returns how much is used then."""
    while share.admit("box", client, used, limit) is Admission.ADMITTED:
        used += 1
    return used


@given(st.integers(20, 5000))
def test_after_one_client_has_taken_all_it_can_another_gets_as_much_of_the_reserve(limit: int) -> None:
    share = FairShare()
    used = use_up(share, "eve", 0, limit)
    assert limit * 0.9 <= used < limit
    assert share.admit("box", "eve", used, limit) is Admission.SHARE_USED
    assert share.admit("other box", "eve", 0, limit) is Admission.ADMITTED
    assert use_up(share, "boss", used, limit) == limit
    assert share.admit("box", "boss", limit, limit) is Admission.FULL


@given(st.integers(1, 19))
def test_a_small_limit_has_no_reserve(limit: int) -> None:
    assert use_up(FairShare(), "eve", 0, limit) == limit


def test_a_client_has_its_share_again_once_usage_has_fallen_below_the_reserve() -> None:
    share = FairShare()
    assert use_up(share, "eve", 0, 200) == 190
    assert share.admit("box", "eve", 181, 200) is Admission.SHARE_USED
    assert share.admit("box", "eve", 179, 200) is Admission.ADMITTED
    assert use_up(share, "eve", 180, 200) == 190


@given(st.integers(1, 300), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=200))
def test_the_limit_holds_and_a_client_gets_half_of_the_reserve_at_most(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    """Each step reads some messages, then a client sends two."""
    share, used = FairShare(), 0
    taken = Counter[str]()
    for client, read in steps:
        used = max(0, used - read)
        for _ in range(2):
            if used < limit * 0.9:
                taken.clear()
            if share.admit("box", client, used, limit) is Admission.ADMITTED:
                used += 1
                taken[client] += used > limit * 0.9 + 1
        assert used <= limit
        assert limit < 20 or max(taken.values(), default=0) <= limit / 20


@given(st.integers(20, 2000), st.lists(st.sampled_from("ab"), max_size=200))
def test_counts_that_are_restored_after_a_restart_give_nobody_a_second_share(limit: int, clients: list[str]) -> None:
    share, used = FairShare(), limit - reserve_of(limit)
    admitted: list[str] = []
    for client in clients:
        if share.admit("box", client, used + len(admitted), limit) is Admission.ADMITTED:
            admitted.append(client)
    restarted = FairShare()
    restarted.restore("box", admitted, limit)
    for client in "ab":
        rest = use_up(restarted, client, used + len(admitted), limit) - used - len(admitted)
        assert rest == reserve_of(limit) // 2 - admitted.count(client)
        admitted += [client] * rest


def test_a_resource_whose_clients_take_turns_remembers_a_bounded_number_of_them() -> None:
    share = FairShare()
    for number in range(1000):
        assert share.admit("box", f"client {number}", 190, 200) is Admission.ADMITTED
    sizes = [len(clients) for clients in share._taken.values()]  # pyright: ignore[reportPrivateUsage]
    assert sizes == [20]


def test_a_known_total_of_a_client_counts_only_within_the_reserve() -> None:
    assert may_use(10_000, 8_999, own=8_999) is Admission.ADMITTED
    assert may_use(10_000, 9_000, own=500) is Admission.SHARE_USED
    assert may_use(10_000, 9_999, own=499) is Admission.ADMITTED
    assert may_use(10_000, 10_000, own=0) is Admission.FULL


def test_the_resources_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_share, "MAX_RESOURCES", 10)
    share = FairShare()
    for number in range(100):
        assert share.admit(f"box {number}", "eve", 190, 200) is Admission.ADMITTED
    assert len(share) == 10
