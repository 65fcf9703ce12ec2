"""Mail for another host, and mail from one, is committed with its position, exactly once and in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mailroomd.model.ids import MAX_ID
from mailroomd.model.message import Draft
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import MailExpired
from mailroomd.protocol.operations import (
    Confirm,
    Done,
    ForwardedReceipt,
    GiveUp,
    IdsAllocated,
    Intend,
    Origin,
    RecordReceipts,
    Refused,
    Send,
    Sent,
)
from mailroomd.protocol.packets import Command, Outcome
from mailroomd.protocol.reports import StatesAdvanced
from mailroomd.storage.database.message_archive import MessageArchive
from mailroomd.storage.database.message_store import MessageStore, StoredMail
from support.harness.storing import NOW_MS, StoreHarness, answers, draft

STORED, FILED, READ = DeliveryState.STORED, DeliveryState.FILED, DeliveryState.READ
EXPIRED, RETURNED = DeliveryState.EXPIRED, DeliveryState.RETURNED
RUN = 77
FULL = Refused("MAILBOX_FULL", "abc is full", "recipient", 5)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[StoreHarness]:
    made = StoreHarness(tmp_path)
    yield made
    made.store.close()


def arriving(harness: StoreHarness, item_id: int, after_id: int = 0, refusal: Refused | None = None) -> Command:
    """Returns the command for a message from host a."""
    message_id = harness.issue(2)
    mail = Draft("abc", "amy:a", f"item {item_id}", verified=True)
    harness.table[message_id] = StoredMail(message_id, harness.now_ms, mail)
    origin = Origin("a", RUN, item_id, RUN if after_id else 0, after_id)
    send = Send(mail.recipient, mail.sender, mail.verified, "", origin=origin)
    return Command(message_id, send, 2, mail.recipient, refusal=refusal)


def receipt(
    harness: StoreHarness, item_id: int, message_id: int, state: DeliveryState, *, run: int = 0, reason: str = ""
) -> ForwardedReceipt:
    """Returns a receipt from host b."""
    own_run = run or harness.rows("SELECT run FROM departures WHERE id = ?", message_id)[0][0]
    return ForwardedReceipt(Origin("b", RUN, item_id, 0, 0), own_run, message_id, state, NOW_MS + 9, reason)


def recording(harness: StoreHarness, *receipts: ForwardedReceipt) -> Command:
    return Command(harness.issue(len(receipts)), RecordReceipts(list(receipts)), len(receipts))


def contents(harness: StoreHarness) -> list[str]:
    return [content for (content,) in harness.rows("SELECT content FROM messages ORDER BY id")]


def queued(harness: StoreHarness) -> list[tuple[str, int, int]]:
    return harness.rows("SELECT host, id, state FROM forward_queue ORDER BY host, id")  # type: ignore[return-value]


def position(harness: StoreHarness, host: str = "a") -> list[tuple[int, int]]:
    return harness.rows("SELECT run, id FROM arrivals WHERE host = ?", host)  # type: ignore[return-value]


# -- what leaves -------------------------------------------------------------------------------------------------------


def test_a_message_for_another_host_is_stored_and_queued_in_one_transaction(harness: StoreHarness) -> None:
    away, here = harness.message(draft("bob:b")), harness.message(draft("bob"))
    assert answers(harness.commit(away, here)) == [harness.sent(away, STORED), harness.sent(here)]
    assert queued(harness) == [("b", away.id, 0)]
    assert harness.rows("SELECT state, filed_id, filed_ms FROM messages WHERE id = ?", away.id) == [(STORED, 0, 0)]
    assert harness.store.files.unfiled() == []
    assert harness.store.files.filed_after("", 0, 10) == [("bob", here.id)], "no file is expected of the other one"


def test_a_repeated_send_is_queued_once(harness: StoreHarness) -> None:
    first = harness.message(draft("bob:b"), "k", client_key=True)
    again = harness.message(draft("bob:b"), "k", client_key=True)
    assert answers(harness.commit(first, again)) == [
        harness.sent(first, STORED),
        harness.repeated(again, first.id, STORED),
    ]
    assert queued(harness) == [("b", first.id, 0)]


def test_what_a_host_has_stored_leaves_the_queue_by_its_run(harness: StoreHarness) -> None:
    (first,) = harness.send(draft("bob:b"))
    (run,) = harness.rows("SELECT DISTINCT run FROM forward_queue")[0]
    harness.reopen()
    (second,) = harness.send(draft("bob:b"))
    harness.commit(Command(harness.issue(), Confirm("b", {run: second})))
    assert queued(harness) == [("b", second, 0)], "the second is of another run"
    assert first < second


def test_a_message_expires_here_only_if_it_never_left(harness: StoreHarness) -> None:
    ids = [harness.send(draft("bob:b", ttl_ms=5))[0] for _ in range(3)]
    (run,) = harness.rows("SELECT DISTINCT run FROM forward_queue")[0]
    harness.commit(Command(harness.issue(), Intend("b", run, ids[0])))
    assert harness.store.expired(NOW_MS + 99, 10) == ids[1:]
    harness.commit(Command(harness.issue(), Intend("b", run, ids[1])))  # while the event waited for its ids
    expired = harness.sequenced(MailExpired(tuple(ids[1:])))
    assert StatesAdvanced(EXPIRED, [ids[2]]) in harness.commit(expired)
    assert [row[1] for row in queued(harness)] == ids[:2]
    assert harness.store.next_expiry_ms() is None


def test_a_message_of_an_earlier_run_does_not_expire_here(harness: StoreHarness) -> None:
    harness.send(draft("bob:b", ttl_ms=5))
    harness.reopen()
    assert harness.store.expired(NOW_MS + 99, 10) == [], "a restored backup may have forgotten that it left"


def test_what_waits_for_a_host_that_is_gone_returns_to_its_senders(harness: StoreHarness) -> None:
    forwarded, queued_id = harness.send(draft("bob:b", sender="amy"), draft("ben:b", sender="ann"))
    (elsewhere,) = harness.send(draft("cat:c"))
    command = Command(harness.issue(2), GiveUp("b", [forwarded, queued_id], "HOST_REMOVED: gone"), 2)
    outcomes = harness.commit(command)
    assert StatesAdvanced(RETURNED, [forwarded, queued_id]) in outcomes
    assert Outcome(command.id, Done(), ["amy", "ann"]) in outcomes
    assert queued(harness) == [("c", elsewhere, 0)]
    assert harness.rows("SELECT id, state, reason FROM messages JOIN departures USING (id) WHERE host = 'b'") == [
        (forwarded, RETURNED, "HOST_REMOVED: gone"),
        (queued_id, RETURNED, "HOST_REMOVED: gone"),
    ]
    assert harness.rows("SELECT sender, message_id, state, reason FROM receipts ORDER BY id") == [
        ("amy", forwarded, RETURNED, "HOST_REMOVED: gone"),
        ("ann", queued_id, RETURNED, "HOST_REMOVED: gone"),
    ]
    assert harness.rows("SELECT sum(unread) FROM mailboxes WHERE name LIKE '%:b'") == [(0,)]


def test_a_message_is_given_up_once(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b", sender="amy"))
    harness.commit(Command(harness.issue(), GiveUp("b", [away], "HOST_REMOVED: gone")))
    again = Command(harness.issue(), GiveUp("b", [away], "another reason"))
    outcomes = harness.commit(again)  # as after a restart, whose outcome was lost
    assert Outcome(again.id, Done(), ["amy"]) in outcomes
    assert StatesAdvanced(RETURNED, [away]) in outcomes
    assert harness.rows("SELECT count(*) FROM receipts") == [(1,)]
    assert harness.rows("SELECT reason FROM departures") == [("HOST_REMOVED: gone",)]


def test_what_a_host_has_reported_as_stored_is_not_returned(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b"))
    harness.commit(recording(harness, receipt(harness, 3, away, FILED)))
    harness.commit(Command(harness.issue(), GiveUp("b", [away], "HOST_REMOVED: gone")))
    assert harness.rows("SELECT state FROM messages") == [(FILED,)]
    assert queued(harness) == []


def test_receipts_for_a_host_that_is_gone_are_forgotten(harness: StoreHarness) -> None:
    command = arriving(harness, 5)
    harness.commit(command)
    ((_, receipt_id, _),) = queued(harness)
    harness.commit(Command(harness.issue(), GiveUp("a", [receipt_id], "HOST_REMOVED: gone")))
    assert queued(harness) == []
    assert harness.rows("SELECT state FROM messages") == [(FILED,)], "the message itself is here, and stays"


def reopened_with_limit(harness: StoreHarness, limit: int) -> None:
    harness.store.close()
    harness.store = MessageStore(harness.state_dir, max_forward_bytes=lambda: limit)


def test_more_than_the_limit_does_not_wait_for_one_host(harness: StoreHarness) -> None:
    reopened_with_limit(harness, 1000)
    (first,) = harness.send(draft("bob:b", "x" * 900))
    refused, elsewhere = harness.message(draft("ben:b", "é" * 60)), harness.message(draft("cat:c"))
    outcomes = answers(harness.commit(refused, elsewhere))
    assert isinstance(outcomes[0], Outcome)
    assert isinstance(outcomes[0].result, Refused)
    assert (outcomes[0].result.reason, outcomes[0].result.field) == ("HOST_BACKLOG_FULL", "recipient")
    assert outcomes[0].result.retry_after_ms > 0
    assert outcomes[1] == harness.sent(elsewhere, STORED)
    (run,) = harness.rows("SELECT DISTINCT run FROM forward_queue")[0]
    harness.commit(Command(harness.issue(), Confirm("b", {run: first})))
    again = harness.message(draft("ben:b", "é" * 60))
    assert answers(harness.commit(again)) == [harness.sent(again, STORED)]


def test_what_waits_is_counted_again_after_a_restart_and_a_rollback(harness: StoreHarness) -> None:
    reopened_with_limit(harness, 1000)
    harness.send(draft("bob:b", "x" * 400))
    broken = Command(harness.issue(), IdsAllocated(1))  # the store cannot carry it out
    with pytest.raises(TypeError):
        harness.commit(harness.message(draft("bob:b", "x" * 400)), broken)
    harness.send(draft("bob:b", "x" * 500))
    assert len(queued(harness)) == 2
    reopened_with_limit(harness, 1000)
    (outcome,) = answers(harness.commit(harness.message(draft("bob:b", "x" * 200))))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.result, Refused)


def test_an_intent_never_goes_back(harness: StoreHarness) -> None:
    for sent_id in (5, 9, 7):
        harness.commit(Command(harness.issue(), Intend("b", RUN, sent_id)))
    assert harness.rows("SELECT * FROM links") == [("b", RUN, 9)]


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_a_message_arrives_with_its_position_and_its_first_receipt(harness: StoreHarness) -> None:
    command = arriving(harness, 5)
    assert answers(harness.commit(command)) == [harness.sent(command)]
    assert position(harness) == [(RUN, 5)]
    assert queued(harness) == [("a", command.id + 1, FILED)]
    assert harness.rows("SELECT host, run, origin_id FROM origins WHERE id = ?", command.id) == [("a", RUN, 5)]


def test_an_item_that_comes_again_is_stored_once(harness: StoreHarness) -> None:
    first, again = arriving(harness, 5), arriving(harness, 5)
    (_, repeated) = answers(harness.commit(first, again))
    assert isinstance(repeated, Outcome)
    assert isinstance(repeated.result, Sent)
    assert repeated.result.is_repeated
    assert contents(harness) == ["item 5"]


def test_a_command_that_is_repeated_to_a_restarted_worker_is_not_taken_for_another(harness: StoreHarness) -> None:
    command = arriving(harness, 5)
    harness.commit(command)
    harness.reopen()
    (outcome,) = answers(harness.commit(command))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.result, Sent)
    assert not outcome.result.is_repeated, "its record in the table is visible"


def test_an_item_after_a_gap_waits(harness: StoreHarness) -> None:
    early = arriving(harness, 7, after_id=5)
    (outcome,) = answers(harness.commit(early))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.result, Refused)
    harness.commit(arriving(harness, 5), arriving(harness, 7, after_id=5))
    assert contents(harness) == ["item 5", "item 7"]


def test_a_refused_message_is_returned_and_the_link_goes_on(harness: StoreHarness) -> None:
    refused, following = arriving(harness, 5, refusal=FULL), arriving(harness, 7, after_id=5)
    assert answers(harness.commit(refused, following))[0] == Outcome(refused.id, FULL)
    assert contents(harness) == ["item 7"]
    assert queued(harness)[0] == ("a", refused.id, RETURNED)
    assert harness.rows("SELECT reason FROM forward_queue WHERE state = 7") == [("MAILBOX_FULL: abc is full",)]


def test_a_refusal_is_not_repeated_for_an_item_that_is_stored(harness: StoreHarness) -> None:
    harness.commit(arriving(harness, 5))
    harness.commit(arriving(harness, 5, refusal=FULL))
    assert [state for _, _, state in queued(harness)] == [FILED]


def test_each_step_of_a_message_from_another_host_is_queued_for_it(harness: StoreHarness) -> None:
    command = arriving(harness, 5)
    harness.commit(command)
    harness.commit(harness.offering("abc", command.id))
    harness.commit(harness.reading("abc", command.id))
    rows = harness.rows("SELECT host, origin_run, origin_id, state FROM forward_queue ORDER BY id")
    assert rows == [("a", RUN, 5, state) for state in (FILED, DeliveryState.OFFERED, READ)]


def test_the_deadline_of_a_message_from_another_host_is_there(harness: StoreHarness) -> None:
    command = arriving(harness, 5)
    mail = harness.table[command.id]
    harness.table[command.id] = StoredMail(mail.id, mail.timestamp_ms, Draft("abc", "amy:a", "?", reply_by_ms=9))
    harness.commit(command)
    assert harness.store.next_deadline_ms() is None


# -- receipts ----------------------------------------------------------------------------------------------------------


def test_a_receipt_moves_its_message_and_tells_the_sender(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b", sender="amy"))
    command = recording(harness, receipt(harness, 3, away, FILED))
    outcomes = harness.commit(command)
    assert StatesAdvanced(FILED, [away]) in outcomes
    assert Outcome(command.id, Done(), ["amy"]) in outcomes
    assert harness.rows("SELECT sender, message_id, state FROM receipts") == [("amy", away, FILED)]
    assert harness.rows("SELECT state, filed_ms FROM messages") == [(FILED, NOW_MS + 9)]


def test_a_receipt_that_comes_again_or_late_changes_nothing(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b"))
    read = receipt(harness, 4, away, READ)
    harness.commit(recording(harness, read, read))
    harness.commit(recording(harness, receipt(harness, 5, away, FILED)))
    assert harness.rows("SELECT state FROM messages") == [(READ,)]
    assert harness.rows("SELECT state FROM receipts") == [(READ,)]
    assert position(harness, "b") == [(RUN, 5)]


def test_receipts_that_come_together_are_applied_in_order_up_to_a_gap(harness: StoreHarness) -> None:
    first, second, third = harness.send(draft("bob:b"), draft("bob:b"), draft("bob:b"))
    run = harness.rows("SELECT run FROM departures LIMIT 1")[0][0]
    steps = [  # of two runs of host b; the second one ends with a gap
        (Origin("b", RUN, 3, 0, 0), first, FILED),
        (Origin("b", RUN, 5, RUN, 3), first, READ),
        (Origin("b", RUN, 5, RUN, 3), second, READ),
        (Origin("b", RUN + 1, 2, RUN, 5), second, FILED),
        (Origin("b", RUN + 1, 9, RUN + 1, 8), third, FILED),
    ]
    items = [ForwardedReceipt(origin, run, message_id, state, NOW_MS) for origin, message_id, state in steps]
    outcomes = harness.commit(recording(harness, *items))
    assert [one for one in outcomes if isinstance(one, StatesAdvanced)] == [
        StatesAdvanced(FILED, [first]),
        StatesAdvanced(READ, [first]),
        StatesAdvanced(FILED, [second]),
    ]
    assert harness.rows("SELECT state FROM messages ORDER BY id") == [(READ,), (FILED,), (STORED,)]
    assert position(harness, "b") == [(RUN, 5), (RUN + 1, 2)]


def test_a_receipt_for_a_message_of_a_lost_history_is_not_applied(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b"))
    harness.commit(recording(harness, receipt(harness, 4, away, READ, run=123)))
    assert harness.rows("SELECT state FROM messages") == [(STORED,)]


def test_a_returned_message_has_ended_with_its_reason(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b"))
    harness.commit(recording(harness, receipt(harness, 4, away, RETURNED, reason="MAILBOX_FULL: full")))
    assert harness.rows("SELECT state, reason FROM messages JOIN departures USING (id)") == [
        (RETURNED, "MAILBOX_FULL: full")
    ]
    assert harness.rows("SELECT unread FROM mailboxes WHERE name = 'bob:b'") == [(0,)]
    archive = MessageArchive(harness.state_dir)
    reasons = {one.state: one.reason for one in archive.receipts(None, 0, MAX_ID, 10)}
    assert reasons == {STORED: "", RETURNED: "MAILBOX_FULL: full"}
    archive.close()
    deleted, _ = harness.store.delete_ended(NOW_MS + 99, 10, NOW_MS)
    assert deleted == [("bob:b", away)]
    assert harness.rows("SELECT * FROM departures") == []


def test_receipts_after_a_gap_wait(harness: StoreHarness) -> None:
    (away,) = harness.send(draft("bob:b"))
    run = harness.rows("SELECT run FROM departures")[0][0]
    late = ForwardedReceipt(Origin("b", RUN, 9, RUN, 8), run, away, READ, NOW_MS)
    harness.commit(recording(harness, late))
    assert position(harness, "b") == []
    assert harness.rows("SELECT state FROM messages") == [(STORED,)]
