"""A finding is kept until it is committed; it asks once for its places, and again after a failure or a restart."""

import math
from collections.abc import Callable

import pytest
from mailroomd.command_queue.pending_events import (
    AGAIN_SEC,
    PLACES_MOST,
    WAITING_BYTES,
    WAITING_RESPONSES,
    PendingEvents,
)
from mailroomd.protocol.commands import AllocateIds, IdsAllocated
from mailroomd.protocol.local_events import FilesTaken, LocalEvent, MailExpired, MailFiled, ResponseLeft
from mailroomd.storage.database.message_store import SequencedEvent

TAKEN = FilesTaken("abc", (1, 2))
RESPONSE = ResponseLeft("s", "a.json", "1:2:3:4", b"{}")


def test_a_finding_asks_once_for_its_places_and_a_response_for_its_agent() -> None:
    discoveries = PendingEvents()
    assert discoveries.due(5.0) == math.inf
    discoveries.add(TAKEN)
    discoveries.add(RESPONSE)
    assert discoveries.due(5.0) == 0
    assert discoveries.requests(5.0) == [AllocateIds(1, 2), AllocateIds(2, 1, "s")]
    assert discoveries.requests(5.0) == []
    assert discoveries.due(5.0) == math.inf
    assert discoveries.asked() == [AllocateIds(1, 2), AllocateIds(2, 1, "s")], "of a mailbox that restarted"


def test_a_grant_gives_a_finding_its_places_until_it_is_committed() -> None:
    discoveries = PendingEvents()
    discoveries.add(TAKEN)
    discoveries.requests(0.0)
    grant = IdsAllocated(100, 2, 1, "lead")
    assert discoveries.found_at(grant) == discoveries.found_at(grant) == SequencedEvent(100, 101, TAKEN, "lead")
    assert discoveries.is_waiting(FilesTaken)
    assert not discoveries.is_waiting(MailExpired)
    assert discoveries.committed(1) == TAKEN
    assert not discoveries.is_waiting(FilesTaken)
    assert discoveries.asked() == []


def test_a_grant_that_belongs_to_no_finding_any_more_does_nothing() -> None:
    discoveries = PendingEvents()
    assert discoveries.found_at(IdsAllocated(100, 3, 7)) == SequencedEvent(100, 102, None)
    assert discoveries.committed(7) is None
    discoveries.put_off(7, 0.0)
    assert discoveries.due(0.0) == math.inf


def test_a_finding_that_could_not_be_committed_asks_again_a_little_later() -> None:
    discoveries = PendingEvents()
    discoveries.add(TAKEN)
    discoveries.requests(0.0)
    discoveries.put_off(1, 10.0)
    assert discoveries.asked() == []
    assert discoveries.requests(10.0 + AGAIN_SEC / 2) == []
    assert discoveries.due(10.0) == AGAIN_SEC
    assert discoveries.requests(10.0 + AGAIN_SEC) == [AllocateIds(1, 2)]
    assert discoveries.found_at(IdsAllocated(100, 2, 1)).finding == TAKEN


def taken(message_ids: tuple[int, ...]) -> LocalEvent:
    return FilesTaken("abc", message_ids)


@pytest.mark.parametrize("make", [taken, MailExpired, MailFiled])
def test_a_large_finding_asks_in_parts(make: Callable[[tuple[int, ...]], LocalEvent]) -> None:
    discoveries = PendingEvents()
    numbers = tuple(range(2 * PLACES_MOST + 1))
    discoveries.add(make(numbers))
    requests = discoveries.requests(0.0)
    assert [one.count for one in requests] == [PLACES_MOST, PLACES_MOST, 1]
    parts = [discoveries.found_at(IdsAllocated(1, one.count, one.request)).finding for one in requests]
    assert all(type(part) is type(make(())) for part in parts)
    assert tuple(number for part in parts for number in ids_of(part)) == numbers


def ids_of(finding: LocalEvent | None) -> tuple[int, ...]:
    assert finding is not None
    assert not isinstance(finding, ResponseLeft)
    return finding.message_ids


def test_responses_are_bounded_by_their_bytes() -> None:
    discoveries = PendingEvents()
    for number in range(2):
        assert discoveries.has_room
        discoveries.add(ResponseLeft("s", f"{number}.json", "", b"x" * (WAITING_BYTES // 2)))
    assert not discoveries.has_room
    discoveries.put_off(1, 0.0)
    assert not discoveries.has_room
    discoveries.committed(1)
    assert discoveries.has_room


def test_a_grant_that_a_predecessor_asked_for_gives_its_places_to_no_finding_of_this_process() -> None:
    predecessor, discoveries = PendingEvents(epoch=1), PendingEvents(epoch=2)
    for one in (predecessor, discoveries):
        one.add(TAKEN)
    (asked,) = predecessor.requests(0.0)
    discoveries.requests(0.0)
    assert discoveries.found_at(IdsAllocated(100, 2, asked.request, "")) == SequencedEvent(100, 101, None)
    assert discoveries.is_waiting(FilesTaken)


def test_small_responses_are_bounded_by_their_number() -> None:
    events = PendingEvents()
    for number in range(WAITING_RESPONSES):
        assert events.has_room
        events.add(ResponseLeft("s", f"{number}.json", "", b"{}"))
    assert not events.has_room
    events.committed(1)
    assert events.has_room
