"""An event is kept until it is committed; it asks once for its ids, and again after a failure or a restart."""

import math
from collections.abc import Callable

import pytest
from mailroomd.command_queue.local_events import (
    ATTEMPTS_MOST,
    IDS_PER_REQUEST,
    RETRY_SEC,
    WAITING_BYTES,
    WAITING_RESPONSES,
    PendingEvents,
)
from mailroomd.protocol.local_events import FilesTaken, LocalEvent, MailExpired, MailFiled, ResponseLeft
from mailroomd.protocol.operations import IdsAllocated
from mailroomd.protocol.packets import Command
from mailroomd.protocol.reports import AllocateIds
from mailroomd.storage.database.message_store import SequencedEvent

TAKEN = FilesTaken("abc", (1, 2))
RESPONSE = ResponseLeft("s", "a.json", "1:2:3:4", b"{}")


def test_an_event_asks_once_for_its_ids_and_a_response_for_its_agent() -> None:
    pending = PendingEvents()
    assert pending.due_in_sec(5.0) == math.inf
    pending.enqueue(TAKEN)
    pending.enqueue(RESPONSE)
    assert pending.due_in_sec(5.0) == 0
    assert pending.drain_requests(5.0) == [AllocateIds(1, 2), AllocateIds(2, 1, "s")]
    assert pending.drain_requests(5.0) == []
    assert pending.due_in_sec(5.0) == math.inf
    assert pending.unanswered_requests() == [AllocateIds(1, 2), AllocateIds(2, 1, "s")], "of a mailbox that restarted"


def sequence(pending: PendingEvents, request: int, count: int, agent: str = "") -> SequencedEvent:
    """Gives an event the ids from 100 on."""
    allocated = IdsAllocated(request, agent)
    return pending.sequence(Command(100, allocated, count), allocated)


def test_allocated_ids_belong_to_an_event_until_it_is_committed() -> None:
    pending = PendingEvents()
    pending.enqueue(TAKEN)
    pending.drain_requests(0.0)
    assert sequence(pending, 1, 2, "lead") == sequence(pending, 1, 2, "lead") == SequencedEvent(100, 101, TAKEN, "lead")
    assert pending.contains(FilesTaken)
    assert not pending.contains(MailExpired)
    assert pending.on_committed(1) == TAKEN
    assert not pending.contains(FilesTaken)
    assert pending.unanswered_requests() == []


def test_ids_for_an_unknown_request_are_void() -> None:
    pending = PendingEvents()
    assert sequence(pending, 7, 3) == SequencedEvent(100, 102, None)
    assert pending.on_committed(7) is None
    pending.postpone(7, 0.0)
    assert pending.due_in_sec(0.0) == math.inf


def test_an_event_that_could_not_be_committed_asks_again_later() -> None:
    pending = PendingEvents()
    pending.enqueue(TAKEN)
    pending.drain_requests(0.0)
    pending.postpone(1, 10.0)
    assert pending.unanswered_requests() == []
    assert pending.drain_requests(10.0 + RETRY_SEC / 2) == []
    assert pending.due_in_sec(10.0) == RETRY_SEC
    assert pending.drain_requests(10.0 + RETRY_SEC) == [AllocateIds(1, 2)]
    assert sequence(pending, 1, 2).event == TAKEN


def taken(message_ids: tuple[int, ...]) -> LocalEvent:
    return FilesTaken("abc", message_ids)


@pytest.mark.parametrize("make", [taken, MailExpired, MailFiled])
def test_a_large_event_asks_in_parts(make: Callable[[tuple[int, ...]], LocalEvent]) -> None:
    pending = PendingEvents()
    message_ids = tuple(range(2 * IDS_PER_REQUEST + 1))
    pending.enqueue(make(message_ids))
    requests = pending.drain_requests(0.0)
    assert [request.count for request in requests] == [IDS_PER_REQUEST, IDS_PER_REQUEST, 1]
    parts = [sequence(pending, request.request, request.count).event for request in requests]
    assert all(type(part) is type(make(())) for part in parts)
    assert tuple(message_id for part in parts for message_id in ids_of(part)) == message_ids


def ids_of(event: LocalEvent | None) -> tuple[int, ...]:
    assert event is not None
    assert not isinstance(event, ResponseLeft)
    return event.message_ids


def test_waiting_responses_are_bounded_by_their_bytes() -> None:
    pending = PendingEvents()
    for index in range(2):
        assert pending.has_room
        pending.enqueue(ResponseLeft("s", f"{index}.json", "", b"x" * (WAITING_BYTES // 2)))
    assert not pending.has_room
    pending.postpone(1, 0.0)
    assert not pending.has_room
    pending.on_committed(1)
    assert pending.has_room


def test_ids_that_a_predecessor_asked_for_go_to_no_event_of_this_process() -> None:
    predecessor, pending = PendingEvents(epoch=1), PendingEvents(epoch=2)
    for events in (predecessor, pending):
        events.enqueue(TAKEN)
    (request,) = predecessor.drain_requests(0.0)
    pending.drain_requests(0.0)
    assert sequence(pending, request.request, 2) == SequencedEvent(100, 101, None)
    assert pending.contains(FilesTaken)


def test_small_responses_are_bounded_by_their_number() -> None:
    pending = PendingEvents()
    for number in range(WAITING_RESPONSES):
        assert pending.has_room
        pending.enqueue(ResponseLeft("s", f"{number}.json", "", b"{}"))
    assert not pending.has_room
    pending.on_committed(1)
    assert pending.has_room


def test_an_event_that_fails_is_halved_until_the_message_at_fault_is_alone() -> None:
    pending = PendingEvents()
    pending.enqueue(FilesTaken("abc", (1, 2, 3, 4)))
    committed: list[int] = []
    dropped: list[LocalEvent] = []
    now_sec, rounds = 0.0, 0
    while requests := pending.drain_requests(now_sec):
        rounds += 1
        assert rounds < 20
        for request in requests:
            event = sequence(pending, request.request, request.count).event
            assert isinstance(event, FilesTaken)
            if 3 in event.message_ids:
                dropped += filter(None, [pending.set_aside(request.request, now_sec)])
            else:
                pending.on_committed(request.request)
                committed += event.message_ids
        now_sec += RETRY_SEC
    assert sorted(committed) == [1, 2, 4]
    assert dropped == [FilesTaken("abc", (3,))]
    assert not pending.contains(FilesTaken)


def test_a_response_that_is_set_aside_makes_room_for_others() -> None:
    pending = PendingEvents()
    pending.enqueue(ResponseLeft("s", "a.json", "1", b"x" * WAITING_BYTES))
    assert not pending.has_room
    dropped = [pending.set_aside(1, 0.0) for _ in range(ATTEMPTS_MOST)]
    assert dropped[:-1] == [None] * (ATTEMPTS_MOST - 1)
    assert dropped[-1] is not None
    assert pending.has_room
    assert pending.set_aside(1, 0.0) is None
