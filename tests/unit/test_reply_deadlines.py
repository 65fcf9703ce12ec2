"""A sender that names a time for its answer gets the answer, or one receipt OVERDUE when the time has passed."""

from collections.abc import Iterator

import msgspec
import pytest
from mailroomd.model.ids import MAX_ID
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import FilesTaken, MailExpired, MailOverdue
from mailroomd.protocol.operations import Done, Sent
from mailroomd.protocol.packets import Outcome
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.message_store import SequencedEvent
from support.harness.storing import NOW_MS, StoreHarness, answers, draft

OVERDUE = DeliveryState.OVERDUE
DUE_MS = NOW_MS + 60_000
HOUR_MS = 3_600_000


@pytest.fixture
def archive(harness: StoreHarness) -> Iterator[MessageArchive]:
    made = MessageArchive(harness.state_dir)
    yield made
    made.close()


def question(recipient: str = "bob", sender: str = "amy", reply_by_ms: int = DUE_MS) -> Draft:
    return msgspec.structs.replace(draft(recipient, sender=sender), reply_by_ms=reply_by_ms)


def answer(message_id: int, recipient: str = "amy", sender: str = "bob") -> Draft:
    return msgspec.structs.replace(draft(recipient, sender=sender), in_reply_to=message_id)


def report(harness: StoreHarness, now_ms: int = DUE_MS) -> list[str]:
    """Does what the command-queue does when deadlines have passed; returns the senders that are notified."""
    harness.pass_to(now_ms)
    found = harness.store.overdue(now_ms, 100)
    if not found:
        return []
    event = harness.sequenced(MailOverdue(tuple(found)))
    (done,) = answers(harness.commit(event))
    assert isinstance(done, Outcome)
    assert (done.id, done.result) == (event.id, Done())
    return done.receipt_senders


def receipts(archive: MessageArchive) -> list[tuple[str, int]]:
    return [(one.sender, one.message_id) for one in archive.receipts(None, 0, MAX_ID, 100) if one.state is OVERDUE]


def test_a_deadline_that_passes_is_one_receipt_for_the_sender(harness: StoreHarness, archive: MessageArchive) -> None:
    early, late = harness.send(question(), question(reply_by_ms=DUE_MS + 1))
    assert harness.store.next_deadline_ms() == DUE_MS
    assert report(harness, DUE_MS - 1) == []
    assert report(harness) == ["amy"]
    assert (receipts(archive), harness.store.next_deadline_ms()) == ([("amy", early)], DUE_MS + 1)
    assert report(harness, DUE_MS + 1) == ["amy"]
    assert report(harness, DUE_MS + HOUR_MS) == []
    assert (receipts(archive), harness.store.next_deadline_ms()) == ([("amy", early), ("amy", late)], None)


def test_a_message_without_a_deadline_leaves_no_trace_of_one(harness: StoreHarness) -> None:
    (plain,) = harness.send(draft())
    harness.send(answer(plain))
    assert harness.rows("SELECT * FROM deadlines") == []
    assert harness.store.next_deadline_ms() is None


def test_an_overdue_message_keeps_its_state_and_can_be_read_and_answered(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    (asked,) = harness.send(question())
    harness.commit(harness.offering("bob", asked))
    report(harness)
    history = archive.history(asked)
    assert history is not None
    assert (history.message.state, history.overdue_ms) == (DeliveryState.OFFERED, DUE_MS)
    harness.commit(harness.reading("bob", asked))
    harness.send(answer(asked))
    history = archive.history(asked)
    assert history is not None
    assert (history.message.state, history.overdue_ms) == (DeliveryState.READ, DUE_MS)
    assert receipts(archive) == [("amy", asked)]


@pytest.mark.parametrize("together", [True, False])
def test_an_answer_in_time_means_no_receipt(harness: StoreHarness, archive: MessageArchive, *, together: bool) -> None:
    asked = harness.message(question())
    if not together:
        harness.commit(asked)
    answered = harness.message(answer(asked.id))
    harness.commit(asked, answered) if together else harness.commit(answered)
    assert report(harness) == []
    assert receipts(archive) == []


def test_an_answer_that_is_stored_before_the_receipt_is_in_time(harness: StoreHarness, archive: MessageArchive) -> None:
    asked, other = harness.send(question(), question())
    harness.pass_to(DUE_MS)
    event = harness.sequenced(MailOverdue((asked, other)))
    (outcome,) = answers(harness.commit(harness.message(answer(asked)), event))[1:]
    assert outcome == Outcome(event.id, Done(), ["amy"])
    assert receipts(archive) == [("amy", other)]


def test_an_answer_counts_also_when_it_was_read_and_deleted_before_the_deadline(harness: StoreHarness) -> None:
    (asked,) = harness.send(question())
    (answered,) = harness.send(answer(asked))
    harness.commit(harness.reading("amy", answered))
    harness.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    assert harness.rows("SELECT id FROM messages WHERE id = ?", answered) == []
    assert report(harness) == []


@pytest.mark.parametrize(
    "other",
    [answer(0, sender="eve"), answer(0, recipient="eve"), answer(0, recipient="bob", sender="amy")],
    ids=["of somebody else", "to somebody else", "by the sender itself"],
)
def test_other_messages_are_no_answer(harness: StoreHarness, archive: MessageArchive, other: Draft) -> None:
    (asked,) = harness.send(question())
    harness.send(msgspec.structs.replace(other, in_reply_to=asked), answer(asked - 1))
    assert report(harness) == ["amy"]
    assert receipts(archive) == [("amy", asked)]


@pytest.mark.parametrize(
    ("names", "replied"),
    [
        (("s1", "amy"), ("amy", "bob")),  # asked the session, answered by its agent
        (("bob", "amy"), ("amy", "s1")),  # asked the agent, answered by its session
        (("bob", "s2"), ("amy", "bob")),  # asked by a session, answered to its agent
    ],
)
def test_a_session_and_its_agent_are_one_recipient_and_one_sender(
    harness: StoreHarness, names: tuple[str, str], replied: tuple[str, str]
) -> None:
    for session, agent in (("s1", "bob"), ("s2", "amy")):
        harness.commit(harness.aliasing(session, agent, NOW_MS + HOUR_MS))
    (asked,) = harness.send(question(*names))
    harness.send(answer(asked, *replied))
    assert report(harness) == []


def test_an_alias_that_has_ended_joins_nobody(harness: StoreHarness) -> None:
    harness.commit(harness.aliasing("s1", "bob", NOW_MS))
    (asked,) = harness.send(question("s1"))
    harness.send(answer(asked, sender="bob"))
    assert report(harness) == ["amy"]


def test_the_deadline_outlives_a_message_that_is_read_expired_or_deleted(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    read, expired, cleared, taken = harness.send(question("a"), question("b"), question("c"), question("d"))
    harness.commit(harness.reading("a", read), harness.clearing("c", cleared))
    harness.commit(harness.sequenced(MailExpired((expired,))), harness.sequenced(FilesTaken("d", (taken,))))
    harness.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    assert harness.rows("SELECT count(*) FROM messages") == [(0,)]
    assert report(harness) == ["amy"]
    assert receipts(archive) == [("amy", message_id) for message_id in (read, expired, cleared, taken)]


def test_after_a_crash_the_receipt_comes_once_and_its_sender_is_notified_again(
    harness: StoreHarness, archive: MessageArchive
) -> None:
    (asked,) = harness.send(question())
    harness.reopen()
    harness.pass_to(DUE_MS)
    event = harness.sequenced(MailOverdue((asked,)))
    harness.commit(event)
    harness.reopen()
    assert harness.store.overdue(DUE_MS, 10) == []
    repeated = SequencedEvent(event.id, event.last_id, None)  # the mailbox repeats the ids; nobody knows the event
    assert answers(harness.commit(repeated)) == [Outcome(event.id, Done(), ["amy"])]
    again = harness.sequenced(MailOverdue((asked,)))
    assert answers(harness.commit(again)) == [Outcome(again.id, Done(), [])]
    assert receipts(archive) == [("amy", asked)]


def test_a_repeated_request_is_the_same_although_it_names_a_later_deadline(harness: StoreHarness) -> None:
    first = harness.message(question(), "k", client_key=True)
    harness.commit(first)
    again = harness.message(question(reply_by_ms=DUE_MS + HOUR_MS), "k", client_key=True)
    (outcome,) = answers(harness.commit(again))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.result, Sent)
    assert outcome.result.is_repeated
    assert harness.rows("SELECT id, reply_by_ms FROM deadlines") == [(first.id, DUE_MS)]


def test_a_failed_commit_leaves_no_deadline(harness: StoreHarness) -> None:
    asked = harness.message(question())
    with pytest.raises(AttributeError):
        harness.commit(asked, "not a command")  # pyright: ignore[reportArgumentType]
    assert harness.rows("SELECT * FROM deadlines") == []
