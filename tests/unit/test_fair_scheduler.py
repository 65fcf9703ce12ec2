"""FairScheduler: nobody's flood makes others wait, nothing is forgotten, and everything of one agent goes in its order."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from mailroomd.gateway.fair_scheduler import (
    ALONE_AFTER_SEC,
    MOST_ALONE,
    MOST_BESIDE_OTHERS,
    MOST_OF_A_BATCH,
    FairScheduler,
    FlowKey,
)

ALONE, OTHER, FLOOD, CALM = map(FlowKey, ("alone", "other", "flood", "calm"))
LANES = [FlowKey("a"), FlowKey("b"), FlowKey("a", in_batch=True)]


class Clock:
    """A clock that the test moves."""

    now_sec = 0.0

    def __call__(self) -> float:
        return self.now_sec


def entered(turns: FairScheduler, lane: FlowKey, calls: range) -> int:
    """Has an agent ask so often; returns how many of these calls go at once."""
    return sum(turns.enter(lane, call) for call in calls)


def test_who_is_alone_has_many_calls_under_way_and_who_is_not_has_few() -> None:
    clock = Clock()
    turns = FairScheduler(clock)
    assert entered(turns, ALONE, range(1000)) == MOST_ALONE
    assert turns.enter(OTHER, 2000)
    assert entered(turns, OTHER, range(2001, 3000)) == MOST_BESIDE_OTHERS - 1
    assert not turns.leave(ALONE, 0), "it has more under way than its share by now"


def test_who_asks_for_one_thing_at_a_time_never_waits_beside_a_flood() -> None:
    turns = FairScheduler(Clock())
    entered(turns, FLOOD, range(1000))
    for call in range(1000, 1100):
        assert turns.enter(CALM, call)
        assert turns.leave(CALM, call) == []


def test_a_batch_has_more_under_way_beside_others_and_its_agents_single_calls_pass_it() -> None:
    turns = FairScheduler(Clock())
    turns.enter(CALM, 1)
    assert entered(turns, FlowKey("flood", in_batch=True), range(2, 1000)) == MOST_OF_A_BATCH
    assert turns.enter(FLOOD, 1000)


def test_a_flood_has_its_share_again_when_the_others_are_silent() -> None:
    clock = Clock()
    turns = FairScheduler(clock)
    turns.enter(CALM, 9999)
    assert entered(turns, FLOOD, range(1000)) == MOST_BESIDE_OTHERS
    clock.now_sec = 100.0
    assert turns.leave(FLOOD, 0) == [MOST_BESIDE_OTHERS], "the other still waits for its answer"
    turns.leave(CALM, 9999)
    clock.now_sec += ALONE_AFTER_SEC + 0.1
    assert turns.leave(FLOOD, 1) == list(range(MOST_BESIDE_OTHERS + 1, MOST_ALONE + 2))


def test_a_call_that_gives_up_while_it_waits_takes_nobody_elses_turn() -> None:
    turns = FairScheduler(Clock())
    entered(turns, FLOOD, range(MOST_ALONE + 2))
    assert turns.is_waiting(FLOOD, MOST_ALONE)
    assert turns.leave(FLOOD, MOST_ALONE) == []
    assert not turns.is_waiting(FLOOD, MOST_ALONE)
    assert turns.leave(FLOOD, 0) == [MOST_ALONE + 1]


@given(
    steps=st.lists(st.tuples(st.sampled_from(LANES), st.booleans(), st.floats(0, 1)), max_size=400),
    burst=st.integers(1, 60),
)
def test_every_call_goes_once_in_its_order_and_nobody_is_forgotten(
    steps: list[tuple[FlowKey, bool, float]], burst: int
) -> None:
    clock, number = Clock(), 0
    turns = FairScheduler(clock)
    waiting = {name: deque[int]() for name in LANES}
    under_way = {name: deque[int]() for name in LANES}

    def leave(name: FlowKey) -> None:
        for going in turns.leave(name, under_way[name].popleft()):
            assert going == waiting[name].popleft()
            under_way[name].append(going)

    for name, asks, after_sec in steps:
        clock.now_sec += after_sec
        for _ in range(burst if asks else 0):
            number += 1
            (under_way if turns.enter(name, number) else waiting)[name].append(number)
        if not asks and under_way[name]:
            leave(name)
        assert all(len(calls) <= MOST_ALONE for calls in under_way.values())
    for name, calls in under_way.items():
        while calls:
            leave(name)
        assert not waiting[name]
