"""What the mailbox refuses because of the state of a mailbox or of the aliases."""

from collections.abc import Iterator

import pytest
from mailroomd.mailbox import requests
from mailroomd.model.message import Draft, pack_draft
from mailroomd.protocol.operations import Done, Refused, Result, Send, Sent, SetAlias
from mailroomd.protocol.packets import Answer, Outcome, Request
from mailroomd.protocol.reports import MailboxCounted
from mailroomd.table.writer import TableFull
from support.harness.mailbox_worker import MailboxWorker


@pytest.fixture
def worker() -> Iterator[MailboxWorker]:
    made = MailboxWorker(max_unread=200)
    yield made
    made.close()


def request(
    call: int, sender: str, recipient: str = "vic", *, resubmitted: bool = False, content: str = "x"
) -> Request:
    body = pack_draft(Draft(recipient, sender, content))
    return Request(call, Send(recipient, sender, verified=False, key="key"), body, resubmitted)


def alias_request(call: int, session: str, agent: str) -> Request:
    return Request(call, SetAlias(session, agent, 1 << 50))


def store(worker: MailboxWorker, sender: str, recipient: str) -> Result:
    """Sends a message, which becomes durable at once; returns the result."""
    worker.handle(request(1, sender, recipient))
    unread = worker.state.table.entry(recipient).unread
    for command in worker.commands(Send):
        sent = Outcome(command.id, Sent(command.id, 1, 2, command.mailbox))
        worker.report(sent, MailboxCounted(recipient, unread + 1, unread + 1, 1))
    return only_result(worker)


def set_alias(worker: MailboxWorker, session: str, agent: str) -> Result:
    worker.handle(alias_request(1, session, agent))
    for command in worker.commands(SetAlias):
        worker.report(Outcome(command.id, Done()))
    return only_result(worker)


def only_result(worker: MailboxWorker) -> Result:
    (answer,) = [event for event in worker.answers() if isinstance(event, Answer)]
    return answer.result


def test_a_sender_that_floods_a_mailbox_leaves_room_for_others(worker: MailboxWorker) -> None:
    answers = [store(worker, "eve", "vic") for _ in range(200)]
    stored = [answer for answer in answers if isinstance(answer, Sent)]
    assert len(stored) == 190
    refusal = answers[-1]
    assert isinstance(refusal, Refused)
    assert (refusal.reason, refusal.field, refusal.retry_after_ms) == ("MAILBOX_FULL", "recipient", 60_000)
    assert "reserved for other senders" in refusal.sentence
    assert [type(store(worker, "boss", "vic")) for _ in range(11)] == [Sent] * 10 + [Refused]
    full = store(worker, "carol", "vic")
    assert isinstance(full, Refused)
    assert "200 unread messages (limit " in full.sentence


def test_a_sender_cannot_use_up_a_mailbox_under_the_names_of_its_sessions(worker: MailboxWorker) -> None:
    for number in range(20):
        assert isinstance(set_alias(worker, f"s{number}", "eve"), Done)
    answers = [store(worker, f"s{number % 20}", "vic") for number in range(400)]
    assert sum(isinstance(answer, Sent) for answer in answers) == 190


def test_a_request_that_is_repeated_to_a_restarted_mailbox_carries_its_refusal(worker: MailboxWorker) -> None:
    """It may be stored already, which only the command-queue can tell."""
    assert sum(isinstance(store(worker, "eve", "vic"), Sent) for _ in range(200)) == 190
    for resubmitted in (False, True):
        worker.handle(request(1, "eve", resubmitted=resubmitted))
        worker.handle(request(2, "boss", resubmitted=resubmitted))
        commands = worker.commands(Send)
        refusals = [command.refusal.reason if command.refusal else "" for command in commands]
        assert refusals == (["MAILBOX_FULL", ""] if resubmitted else [""])


def test_a_message_that_waits_for_room_in_the_table_is_counted_once() -> None:
    worker = MailboxWorker(ring_bytes=1 << 16, max_unread=40)
    for _ in range(36):
        assert isinstance(store(worker, "eve", "vic"), Sent)
    large = request(1, "eve", content="x" * 40_000)
    for _ in range(10):
        with pytest.raises(TableFull):
            worker.handle(large)
    answers = [store(worker, "eve", "vic") for _ in range(3)]
    assert [type(answer) for answer in answers] == [Sent, Sent, Refused]
    worker.close()


def test_an_agent_that_sets_many_aliases_leaves_room_for_others(
    worker: MailboxWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_ALIASES", 100)
    answers = [set_alias(worker, f"s{number}", "eve") for number in range(110)]
    assert sum(isinstance(answer, Done) for answer in answers) == 90
    refusal = answers[-1]
    assert isinstance(refusal, Refused)
    assert (refusal.reason, refusal.field) == ("TOO_MANY_ALIASES", "session")
    assert "eve has 90 aliases" in refusal.sentence
    assert [type(set_alias(worker, f"b{number}", "bob")) for number in range(6)] == [Done] * 5 + [Refused]
    assert isinstance(set_alias(worker, "s0", "eve"), Done), "an alias that exists may be renewed"


def test_aliases_that_are_being_stored_count_towards_the_limit(
    worker: MailboxWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_ALIASES", 100)
    for number in range(200):
        worker.handle(alias_request(number + 1, f"s{number}", f"agent-{number}"))
    assert len(worker.commands(SetAlias)) == 100


def test_requests_that_arrive_together_never_lead_an_alias_to_another_alias(worker: MailboxWorker) -> None:
    worker.handle(alias_request(1, "s1", "ann"))
    worker.handle(alias_request(2, "ann", "bob"))
    worker.handle(alias_request(3, "s2", "s1"))
    assert [command.op for command in worker.commands()] == [SetAlias("s1", "ann", 1 << 50)]
    refusals = [
        (event.call, event.result.reason)
        for event in worker.answers()
        if isinstance(event, Answer) and isinstance(event.result, Refused)
    ]
    assert refusals == [(2, "ALIAS_CONFLICT"), (3, "ALIAS_CONFLICT")]


def test_an_alias_that_could_not_be_stored_is_no_longer_pending(worker: MailboxWorker) -> None:
    worker.handle(alias_request(1, "s1", "ann"))
    (command,) = worker.commands(SetAlias)
    worker.report(Outcome(command.id, Refused("STORAGE_FULL", "the disk is full")))
    assert len(worker.state.pending_aliases) == 0
    worker.answers()
    assert isinstance(set_alias(worker, "ann", "bob"), Done)


def test_an_alias_changes_where_a_message_goes_and_neither_its_request_nor_its_body(worker: MailboxWorker) -> None:
    assert isinstance(set_alias(worker, "s1", "ann"), Done)
    asked = request(2, "eve", "s1")
    worker.handle(asked)
    (command,) = worker.commands(Send)
    assert (command.mailbox, command.op) == ("ann", asked.op)
    record = worker.reader.record_at(command.position)
    assert (record.mailbox, record.body) == ("ann", asked.body)
    assert record.draft() == Draft("ann", "eve", "x"), "a reader finds the mailbox that it is in"
