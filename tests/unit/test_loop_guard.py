"""The guard stops two agents that answer each other endlessly, and nothing else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroomd.core import loop_guard
from mailroomd.core.loop_guard import MAX_PAIRS, WINDOW_MS, LoopGuard


def alternate(guard: LoopGuard, times: int, now_ms: int = 0) -> list[int]:
    return [guard.admit("ab"[turn % 2], "ba"[turn % 2], now_ms) for turn in range(times)]


def test_alternating_messages_pass_up_to_the_limit_then_both_must_wait() -> None:
    guard = LoopGuard(10)
    assert alternate(guard, 10) == [0] * 10
    assert guard.admit("a", "b", 1000) == WINDOW_MS - 1000
    assert guard.admit("b", "a", 1000) == WINDOW_MS - 1000


def test_one_way_traffic_never_counts() -> None:
    guard = LoopGuard(10)
    assert [guard.admit("a", "b", 0) for _ in range(1000)] == [0] * 1000
    assert [guard.admit("a", "a", 0) for _ in range(1000)] == [0] * 1000


def test_a_pair_may_continue_after_a_minute() -> None:
    guard = LoopGuard(10)
    alternate(guard, 11)
    assert guard.admit("a", "b", WINDOW_MS - 1) == 1
    assert alternate(guard, 10, WINDOW_MS) == [0] * 10
    assert guard.admit("a", "b", WINDOW_MS) == WINDOW_MS


def test_pairs_are_counted_separately() -> None:
    guard = LoopGuard(10)
    alternate(guard, 11)
    assert guard.admit("a", "c", 0) == 0
    assert guard.admit("c", "b", 0) == 0


def test_a_limit_of_zero_switches_the_guard_off() -> None:
    assert alternate(LoopGuard(0), 5000) == [0] * 5000


def test_watched_pairs_are_bounded_and_quiet_ones_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_guard, "MAX_PAIRS", 100)
    assert MAX_PAIRS >= 1000
    guard = LoopGuard(3)
    for number in range(95):
        guard.admit(f"quiet{number}", "x", 0)
    alternate(guard, 4, WINDOW_MS)
    for number in range(5000):
        guard.admit(f"agent{number % 50}", "y", WINDOW_MS)
        assert len(guard) <= 101
    assert guard.admit("a", "b", WINDOW_MS) > 0


def test_a_flood_of_made_up_names_does_not_hide_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_guard, "MAX_PAIRS", 100)
    guard = LoopGuard(10)
    for turn in range(10):
        assert alternate(guard, 2 * (turn < 5)) == [0, 0] * (turn < 5)
        for number in range(200):
            guard.admit("eve", f"made-up-{turn}-{number}", 0)
    assert guard.admit("a", "b", 0) == WINDOW_MS


def test_a_new_pair_costs_the_same_however_many_are_watched_and_few_are_quiet() -> None:
    guard = LoopGuard(3)

    def cpu_sec_of_new_pairs(name: str, at_ms: int) -> float:
        started_sec = time.process_time()
        for number in range(2000):
            guard.admit(f"{name}{number}", "y", at_ms + number)
        return time.process_time() - started_sec

    few_watched_sec = cpu_sec_of_new_pairs("early", 0)
    for number in range(MAX_PAIRS):
        guard.admit(f"agent{number}", "x", 2000 + number)
    all_watched_sec = cpu_sec_of_new_pairs("late", 2000 + WINDOW_MS)  # with each of them, one pair becomes quiet
    assert all_watched_sec < 20 * few_watched_sec
    assert len(guard) <= MAX_PAIRS


messages = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 30_000)), max_size=60)


@given(messages)
def test_a_pair_is_refused_exactly_when_it_alternates_too_often_within_a_window(
    sent: list[tuple[str, str, int]],
) -> None:
    guard, now_ms = LoopGuard(3), 0
    windows: dict[frozenset[str], tuple[int, int, str]] = {}  # start, count, last sender
    for sender, recipient, pause_ms in sent:
        now_ms += pause_ms
        pair = frozenset((sender, recipient))
        start_ms, count, last_sender = windows.get(pair, (now_ms, 0, ""))
        if now_ms - start_ms >= WINDOW_MS:
            start_ms, count = now_ms, 0
        is_refused = sender != recipient and count >= 3
        assert (guard.admit(sender, recipient, now_ms) > 0) == is_refused
        if not is_refused and sender != last_sender:
            count, last_sender = count + 1, sender
        windows[pair] = start_ms, count, last_sender
