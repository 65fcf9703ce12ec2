"""The guard stops two agents that answer each other endlessly, and nothing else."""

import pytest
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
