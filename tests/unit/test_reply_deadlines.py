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
from support.harness.storing import NOW_MS, Desk, answers, draft

OVERDUE = DeliveryState.OVERDUE
DUE_MS = NOW_MS + 60_000
HOUR_MS = 3_600_000


@pytest.fixture
def archive(desk: Desk) -> Iterator[MessageArchive]:
    made = MessageArchive(desk.state_dir)
    yield made
    made.close()


def question(recipient: str = "bob", sender: str = "amy", reply_by_ms: int = DUE_MS) -> Draft:
    return msgspec.structs.replace(draft(recipient, sender=sender), reply_by_ms=reply_by_ms)


def answer(message_id: int, recipient: str = "amy", sender: str = "bob") -> Draft:
    return msgspec.structs.replace(draft(recipient, sender=sender), in_reply_to=message_id)


def report(desk: Desk, now_ms: int = DUE_MS) -> list[str]:
    """Does what the command-queue does when deadlines have passed; returns the senders that are notified."""
    desk.pass_to(now_ms)
    found = desk.store.overdue(now_ms, 100)
    if not found:
        return []
    event = desk.sequenced(MailOverdue(tuple(found)))
    (done,) = answers(desk.commit(event))
    assert isinstance(done, Outcome)
    assert (done.id, done.result) == (event.id, Done())
    return done.receipt_senders


def receipts(archive: MessageArchive) -> list[tuple[str, int]]:
    return [(one.sender, one.message_id) for one in archive.receipts(None, 0, MAX_ID, 100) if one.state is OVERDUE]


def test_a_deadline_that_passes_is_one_receipt_for_the_sender(desk: Desk, archive: MessageArchive) -> None:
    early, late = desk.send(question(), question(reply_by_ms=DUE_MS + 1))
    assert desk.store.next_deadline_ms() == DUE_MS
    assert report(desk, DUE_MS - 1) == []
    assert report(desk) == ["amy"]
    assert (receipts(archive), desk.store.next_deadline_ms()) == ([("amy", early)], DUE_MS + 1)
    assert report(desk, DUE_MS + 1) == ["amy"]
    assert report(desk, DUE_MS + HOUR_MS) == []
    assert (receipts(archive), desk.store.next_deadline_ms()) == ([("amy", early), ("amy", late)], None)


def test_a_message_without_a_deadline_leaves_no_trace_of_one(desk: Desk) -> None:
    (plain,) = desk.send(draft())
    desk.send(answer(plain))
    assert desk.rows("SELECT * FROM deadlines") == []
    assert desk.store.next_deadline_ms() is None


def test_an_overdue_message_keeps_its_state_and_can_be_read_and_answered(desk: Desk, archive: MessageArchive) -> None:
    (asked,) = desk.send(question())
    desk.commit(desk.offering("bob", asked))
    report(desk)
    history = archive.history(asked)
    assert history is not None
    assert (history.message.state, history.overdue_ms) == (DeliveryState.OFFERED, DUE_MS)
    desk.commit(desk.reading("bob", asked))
    desk.send(answer(asked))
    history = archive.history(asked)
    assert history is not None
    assert (history.message.state, history.overdue_ms) == (DeliveryState.READ, DUE_MS)
    assert receipts(archive) == [("amy", asked)]


@pytest.mark.parametrize("together", [True, False])
def test_an_answer_in_time_means_no_receipt(desk: Desk, archive: MessageArchive, *, together: bool) -> None:
    asked = desk.message(question())
    if not together:
        desk.commit(asked)
    answered = desk.message(answer(asked.id))
    desk.commit(asked, answered) if together else desk.commit(answered)
    assert report(desk) == []
    assert receipts(archive) == []


def test_an_answer_that_is_stored_before_the_receipt_is_in_time(desk: Desk, archive: MessageArchive) -> None:
    asked, other = desk.send(question(), question())
    desk.pass_to(DUE_MS)
    event = desk.sequenced(MailOverdue((asked, other)))
    (outcome,) = answers(desk.commit(desk.message(answer(asked)), event))[1:]
    assert outcome == Outcome(event.id, Done(), ["amy"])
    assert receipts(archive) == [("amy", other)]


def test_an_answer_counts_also_when_it_was_read_and_deleted_before_the_deadline(desk: Desk) -> None:
    (asked,) = desk.send(question())
    (answered,) = desk.send(answer(asked))
    desk.commit(desk.reading("amy", answered))
    desk.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    assert desk.rows("SELECT id FROM messages WHERE id = ?", answered) == []
    assert report(desk) == []


@pytest.mark.parametrize(
    "other",
    [answer(0, sender="eve"), answer(0, recipient="eve"), answer(0, recipient="bob", sender="amy")],
    ids=["of somebody else", "to somebody else", "by the sender itself"],
)
def test_other_messages_are_no_answer(desk: Desk, archive: MessageArchive, other: Draft) -> None:
    (asked,) = desk.send(question())
    desk.send(msgspec.structs.replace(other, in_reply_to=asked), answer(asked - 1))
    assert report(desk) == ["amy"]
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
    desk: Desk, names: tuple[str, str], replied: tuple[str, str]
) -> None:
    for session, agent in (("s1", "bob"), ("s2", "amy")):
        desk.commit(desk.aliasing(session, agent, NOW_MS + HOUR_MS))
    (asked,) = desk.send(question(*names))
    desk.send(answer(asked, *replied))
    assert report(desk) == []


def test_an_alias_that_has_ended_joins_nobody(desk: Desk) -> None:
    desk.commit(desk.aliasing("s1", "bob", NOW_MS))
    (asked,) = desk.send(question("s1"))
    desk.send(answer(asked, sender="bob"))
    assert report(desk) == ["amy"]


def test_the_deadline_outlives_a_message_that_is_read_expired_or_deleted(desk: Desk, archive: MessageArchive) -> None:
    read, expired, cleared, taken = desk.send(question("a"), question("b"), question("c"), question("d"))
    desk.commit(desk.reading("a", read), desk.clearing("c", cleared))
    desk.commit(desk.sequenced(MailExpired((expired,))), desk.sequenced(FilesTaken("d", (taken,))))
    desk.store.delete_ended(NOW_MS + 6, 10, NOW_MS)
    assert desk.rows("SELECT count(*) FROM messages") == [(0,)]
    assert report(desk) == ["amy"]
    assert receipts(archive) == [("amy", message_id) for message_id in (read, expired, cleared, taken)]


def test_after_a_crash_the_receipt_comes_once_and_its_sender_is_notified_again(
    desk: Desk, archive: MessageArchive
) -> None:
    (asked,) = desk.send(question())
    desk.reopen()
    desk.pass_to(DUE_MS)
    event = desk.sequenced(MailOverdue((asked,)))
    desk.commit(event)
    desk.reopen()
    assert desk.store.overdue(DUE_MS, 10) == []
    repeated = SequencedEvent(event.id, event.last_id, None)  # the mailbox repeats the ids; nobody knows the event
    assert answers(desk.commit(repeated)) == [Outcome(event.id, Done(), ["amy"])]
    again = desk.sequenced(MailOverdue((asked,)))
    assert answers(desk.commit(again)) == [Outcome(again.id, Done(), [])]
    assert receipts(archive) == [("amy", asked)]


def test_a_repeated_request_is_the_same_although_it_names_a_later_deadline(desk: Desk) -> None:
    first = desk.message(question(), "k", client_key=True)
    desk.commit(first)
    again = desk.message(question(reply_by_ms=DUE_MS + HOUR_MS), "k", client_key=True)
    (outcome,) = answers(desk.commit(again))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.result, Sent)
    assert outcome.result.is_repeated
    assert desk.rows("SELECT id, reply_by_ms FROM deadlines") == [(first.id, DUE_MS)]


def test_a_failed_commit_leaves_no_deadline(desk: Desk) -> None:
    asked = desk.message(question())
    with pytest.raises(AttributeError):
        desk.commit(asked, "not a command")  # pyright: ignore[reportArgumentType]
    assert desk.rows("SELECT * FROM deadlines") == []
