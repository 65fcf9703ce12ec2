"""One flow's flood never delays the others, no request is forgotten, and each flow stays in order."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from mailroomd.gateway.fair_scheduler import (
    ALONE_AFTER_SEC,
    MAX_BATCH_IN_FLIGHT_CONTENDED,
    MAX_IN_FLIGHT_ALONE,
    MAX_IN_FLIGHT_CONTENDED,
    FairScheduler,
    FlowKey,
)

ALONE, OTHER, FLOOD, CALM = map(FlowKey, ("alone", "other", "flood", "calm"))
FLOWS = [FlowKey("a"), FlowKey("b"), FlowKey("a", in_batch=True)]


class Clock:
    """A clock that the test advances."""

    now_sec = 0.0

    def __call__(self) -> float:
        return self.now_sec


def submit_all(scheduler: FairScheduler, flow: FlowKey, call_ids: range) -> int:
    """Submits requests; returns how many may be sent at once."""
    return sum(scheduler.submit(flow, call_id) for call_id in call_ids)


def test_a_flow_has_many_requests_in_flight_alone_and_few_beside_others() -> None:
    scheduler = FairScheduler(Clock())
    assert submit_all(scheduler, ALONE, range(1000)) == MAX_IN_FLIGHT_ALONE
    assert scheduler.submit(OTHER, 2000)
    assert submit_all(scheduler, OTHER, range(2001, 3000)) == MAX_IN_FLIGHT_CONTENDED - 1
    assert not scheduler.complete(ALONE, 0), "it has more in flight than its share by now"


def test_one_request_at_a_time_is_never_queued_beside_a_flood() -> None:
    scheduler = FairScheduler(Clock())
    submit_all(scheduler, FLOOD, range(1000))
    for call_id in range(1000, 1100):
        assert scheduler.submit(CALM, call_id)
        assert scheduler.complete(CALM, call_id) == []


def test_a_batch_has_more_in_flight_and_its_agents_single_requests_pass_it() -> None:
    scheduler = FairScheduler(Clock())
    scheduler.submit(CALM, 1)
    assert submit_all(scheduler, FlowKey("flood", in_batch=True), range(2, 1000)) == MAX_BATCH_IN_FLIGHT_CONTENDED
    assert scheduler.submit(FLOOD, 1000)


def test_a_flood_regains_its_share_once_the_others_are_silent() -> None:
    clock = Clock()
    scheduler = FairScheduler(clock)
    scheduler.submit(CALM, 9999)
    assert submit_all(scheduler, FLOOD, range(1000)) == MAX_IN_FLIGHT_CONTENDED
    clock.now_sec = 100.0
    assert scheduler.complete(FLOOD, 0) == [MAX_IN_FLIGHT_CONTENDED], "the other still waits for its answer"
    scheduler.complete(CALM, 9999)
    clock.now_sec += ALONE_AFTER_SEC + 0.1
    assert scheduler.complete(FLOOD, 1) == list(range(MAX_IN_FLIGHT_CONTENDED + 1, MAX_IN_FLIGHT_ALONE + 2))


def test_a_queued_request_that_is_abandoned_takes_no_others_turn() -> None:
    scheduler = FairScheduler(Clock())
    submit_all(scheduler, FLOOD, range(MAX_IN_FLIGHT_ALONE + 2))
    assert scheduler.is_queued(FLOOD, MAX_IN_FLIGHT_ALONE)
    assert scheduler.complete(FLOOD, MAX_IN_FLIGHT_ALONE) == []
    assert not scheduler.is_queued(FLOOD, MAX_IN_FLIGHT_ALONE)
    assert scheduler.complete(FLOOD, 0) == [MAX_IN_FLIGHT_ALONE + 1]


@given(
    steps=st.lists(st.tuples(st.sampled_from(FLOWS), st.booleans(), st.floats(0, 1)), max_size=400),
    burst=st.integers(1, 60),
)
def test_every_request_is_sent_once_and_in_order(steps: list[tuple[FlowKey, bool, float]], burst: int) -> None:
    clock, last_call_id = Clock(), 0
    scheduler = FairScheduler(clock)
    queued = {flow: deque[int]() for flow in FLOWS}
    in_flight = {flow: deque[int]() for flow in FLOWS}

    def complete_oldest(flow: FlowKey) -> None:
        for released_id in scheduler.complete(flow, in_flight[flow].popleft()):
            assert released_id == queued[flow].popleft()
            in_flight[flow].append(released_id)

    for flow, submits, after_sec in steps:
        clock.now_sec += after_sec
        for _ in range(burst if submits else 0):
            last_call_id += 1
            (in_flight if scheduler.submit(flow, last_call_id) else queued)[flow].append(last_call_id)
        if not submits and in_flight[flow]:
            complete_oldest(flow)
        assert all(len(call_ids) <= MAX_IN_FLIGHT_ALONE for call_ids in in_flight.values())
    for flow, call_ids in in_flight.items():
        while call_ids:
            complete_oldest(flow)
        assert not queued[flow]
