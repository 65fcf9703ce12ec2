"""A response from an outbox is kept a day, and each file is announced once."""

from collections.abc import Iterator

import pytest
from mailroomd.model.announcement import Response
from mailroomd.model.ids import MAX_ID
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import ResponseLeft
from mailroomd.protocol.reports import ResponseStored
from mailroomd.storage.database import responses
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.receipts import FORGET_SLICE, KEPT_MS
from support.harness.storing import NOW_MS, StoreHarness, answers, done, draft

FILED, OFFERED = DeliveryState.FILED, DeliveryState.OFFERED


@pytest.fixture
def archive(harness: StoreHarness) -> Iterator[MessageArchive]:
    made = MessageArchive(harness.state_dir)
    yield made
    made.close()


def left(
    name: str = "a.json", identity: str = "1:2:3:4", session: str = "s", body: bytes = b'{"ok":1}'
) -> ResponseLeft:
    return ResponseLeft(session, name, identity, body)


def leave(harness: StoreHarness, *responses: ResponseLeft, agent: str = "lead") -> list[int]:
    """Commits responses together; returns their places."""
    work = [harness.sequenced(response, agent) for response in responses]
    harness.commit(*work)
    return [event.id for event in work]


def test_a_response_is_for_the_agent_behind_the_session_and_keeps_all_that_was_left(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    event = harness.sequenced(left(body='{"text":"ü"}'.encode()), "lead")
    assert answers(harness.commit(event)) == [ResponseStored("lead", event.id), done(event.id)]
    assert archive.responses(["lead"], 0, MAX_ID, 10) == [
        Response(event.id, "lead", "s", "a.json", FILED, NOW_MS, '{"text":"ü"}'.encode())
    ]
    assert archive.responses(["s"], 0, MAX_ID, 10) == []


def test_a_file_that_a_crash_left_after_the_commit_is_not_announced_again(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    (response_id,) = leave(harness, left())
    harness.reopen()
    again = harness.sequenced(left(), "lead")
    assert answers(harness.commit(again)) == [done(again.id)]
    assert [response.id for response in archive.responses(None, 0, MAX_ID, 10)] == [response_id]


@pytest.mark.parametrize("other", [left(identity="1:2:3:5"), left(name="b.json"), left(session="t")])
def test_another_file_is_another_response_whatever_its_content(
    harness: StoreHarness, archive: MessageArchive, other: ResponseLeft
) -> None:
    numbers = leave(harness, left(), other)
    assert [response.id for response in archive.responses(None, 0, MAX_ID, 10)] == numbers


def test_a_response_waits_until_it_was_offered_to_its_own_agent(harness: StoreHarness, archive: MessageArchive) -> None:
    first, second = leave(harness, left("1.json"), left("2.json"))
    (other,) = leave(harness, left("3.json"), agent="other")
    assert [response.id for response in archive.waiting_responses(["lead", "other"], 0, MAX_ID, 10)] == [
        first,
        second,
        other,
    ]
    harness.commit(harness.offering("lead", first, other))
    assert [response.id for response in archive.waiting_responses(["lead", "other"], 0, MAX_ID, 10)] == [second, other]
    assert [response.state for response in archive.responses(None, 0, MAX_ID, 10)] == [OFFERED, FILED, FILED]


def test_messages_and_responses_are_offered_together_but_only_mail_has_receipts(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    (message,) = harness.send(draft("lead"))
    (response,) = leave(harness, left())
    offered = harness.offering("lead", response, message)
    assert answers(harness.commit(offered)) == [done(offered.id, "dashboard")]
    assert [(receipt.message_id, receipt.state) for receipt in archive.receipts(None, message + 1, MAX_ID, 10)] == [
        (message, OFFERED)
    ]
    assert archive.responses(None, 0, MAX_ID, 10)[0].state is OFFERED


def test_pages_of_responses_end_at_their_bounds_and_say_so(
    harness: StoreHarness, archive: MessageArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = leave(harness, *[left(f"{n}.json", body=b'{"a":"' + b"x" * 92 + b'"}') for n in range(6)])

    def page(cursor: int = 0, mark: int = MAX_ID, limit: int = 10) -> tuple[list[int], bool]:
        page = archive.responses(["lead"], cursor, mark, limit)
        return [response.id for response in page], page.is_cut

    assert page() == (numbers, False)
    assert page(limit=4) == (numbers[:4], True)
    assert page(numbers[1], numbers[3]) == (numbers[2:4], False)
    assert page(numbers[1], numbers[3] - 1) == (numbers[2:3], False)
    monkeypatch.setattr(responses, "READ_BYTES", 250)
    assert page() == (numbers[:3], True)
    assert page(numbers[2]) == (numbers[3:], True)
    assert page(numbers[-1]) == ([], False)


def test_the_newest_response_of_each_agent_is_reported_after_a_restart(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    leave(harness, left("1.json"), left("2.json"))
    (other,) = leave(harness, left("3.json"), agent="other")
    harness.now_ms += 10
    (newest,) = leave(harness, left("4.json"))
    assert archive.newest_responses() == [("lead", newest), ("other", other)]
    assert harness.store.changed_since(NOW_MS + 1) == [ResponseStored("lead", newest)]
    assert harness.store.changed_since(NOW_MS) == [ResponseStored("lead", newest), ResponseStored("other", other)]


def test_responses_are_forgotten_after_a_day_in_slices_offered_or_not(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    old = leave(harness, *[left(f"{n}.json") for n in range(FORGET_SLICE + 3)])
    harness.commit(harness.offering("lead", *old[::2]))
    harness.pass_to(NOW_MS + KEPT_MS - 1000)
    (young,) = leave(harness, left("young.json"))
    assert not harness.store.forget_old(harness.now_ms)
    harness.pass_to(NOW_MS + KEPT_MS + 1000)
    assert harness.store.forget_old(harness.now_ms)
    assert not harness.store.forget_old(harness.now_ms)
    assert [response.id for response in archive.responses(None, 0, MAX_ID, 10)] == [young]
    assert archive.forgotten_id() == old[-1]
