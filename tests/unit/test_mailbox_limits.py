"""What the mailbox refuses because of the state of a mailbox or of the aliases."""

from collections.abc import Iterator

import pytest
from mailroomd.mailbox import requests
from mailroomd.model.message import Draft
from mailroomd.protocol.commands import (
    AliasWritten,
    CommandRefused,
    MailboxCounted,
    MessageWritten,
    WriteAlias,
    WriteMessage,
)
from mailroomd.protocol.packets import AliasSet, CallFailed, MessageStored, SetAlias, StoreMessage
from mailroomd.table.writer import TableFull
from support.harness.mailbox_worker import MailboxWorker


@pytest.fixture
def worker() -> Iterator[MailboxWorker]:
    made = MailboxWorker(max_unread=200)
    yield made
    made.close()


def request(call: int, sender: str, recipient: str = "vic", *, resubmitted: bool = False) -> StoreMessage:
    return StoreMessage(call, "key", client_key=False, resubmitted=resubmitted, draft=Draft(recipient, sender, "x"))


def store(worker: MailboxWorker, sender: str, recipient: str) -> MessageStored | CallFailed:
    """Sends a message, which becomes durable at once; returns the answer."""
    worker.handle(request(1, sender, recipient))
    unread = worker.state.table.entry(recipient).unread
    for command in worker.commands():
        if isinstance(command, WriteMessage):
            worker.report(MessageWritten(command.id, 2), MailboxCounted(recipient, unread + 1, unread + 1, 1))
    (answer,) = [event for event in worker.answers() if isinstance(event, MessageStored | CallFailed)]
    return answer


def set_alias(worker: MailboxWorker, session: str, agent: str) -> AliasSet | CallFailed:
    worker.handle(SetAlias(1, session, agent, 1 << 50))
    for command in worker.commands():
        if isinstance(command, WriteAlias):
            worker.report(AliasWritten(command.id, session, agent, command.expires_ms))
    (answer,) = [event for event in worker.answers() if isinstance(event, AliasSet | CallFailed)]
    return answer


def test_a_sender_that_floods_a_mailbox_leaves_room_for_others(worker: MailboxWorker) -> None:
    answers = [store(worker, "eve", "vic") for _ in range(200)]
    stored = [answer for answer in answers if isinstance(answer, MessageStored)]
    assert len(stored) == 190
    refusal = answers[-1]
    assert isinstance(refusal, CallFailed)
    assert (refusal.reason, refusal.field, refusal.retry_after_ms) == ("MAILBOX_FULL", "recipient", 60_000)
    assert "reserved for other senders" in refusal.sentence
    assert [type(store(worker, "boss", "vic")) for _ in range(11)] == [MessageStored] * 10 + [CallFailed]
    full = store(worker, "carol", "vic")
    assert isinstance(full, CallFailed)
    assert "200 unread messages (limit " in full.sentence


def test_a_sender_cannot_use_up_a_mailbox_under_the_names_of_its_sessions(worker: MailboxWorker) -> None:
    for number in range(20):
        assert isinstance(set_alias(worker, f"s{number}", "eve"), AliasSet)
    answers = [store(worker, f"s{number % 20}", "vic") for number in range(400)]
    assert sum(isinstance(answer, MessageStored) for answer in answers) == 190


def test_a_request_that_is_repeated_to_a_restarted_mailbox_carries_its_refusal(worker: MailboxWorker) -> None:
    """It may be stored already, which only the command-queue can tell."""
    assert sum(isinstance(store(worker, "eve", "vic"), MessageStored) for _ in range(200)) == 190
    for resubmitted in (False, True):
        worker.handle(request(1, "eve", resubmitted=resubmitted))
        worker.handle(request(2, "boss", resubmitted=resubmitted))
        commands = [command for command in worker.commands() if isinstance(command, WriteMessage)]
        refusals = [command.refusal.reason if command.refusal else "" for command in commands]
        assert refusals == (["MAILBOX_FULL", ""] if resubmitted else [""])


def test_a_message_that_waits_for_room_in_the_table_is_counted_once() -> None:
    worker = MailboxWorker(ring_bytes=1 << 16, max_unread=40)
    for _ in range(36):
        assert isinstance(store(worker, "eve", "vic"), MessageStored)
    large = StoreMessage(1, "key", client_key=False, resubmitted=False, draft=Draft("vic", "eve", "x" * 40_000))
    for _ in range(10):
        with pytest.raises(TableFull):
            worker.handle(large)
    answers = [store(worker, "eve", "vic") for _ in range(3)]
    assert [type(answer) for answer in answers] == [MessageStored, MessageStored, CallFailed]
    worker.close()


def test_an_agent_that_sets_many_aliases_leaves_room_for_others(
    worker: MailboxWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_ALIASES", 100)
    answers = [set_alias(worker, f"s{number}", "eve") for number in range(110)]
    assert sum(isinstance(answer, AliasSet) for answer in answers) == 90
    refusal = answers[-1]
    assert isinstance(refusal, CallFailed)
    assert (refusal.reason, refusal.field) == ("TOO_MANY_ALIASES", "session")
    assert "eve has 90 aliases" in refusal.sentence
    assert [type(set_alias(worker, f"b{number}", "bob")) for number in range(6)] == [AliasSet] * 5 + [CallFailed]
    assert isinstance(set_alias(worker, "s0", "eve"), AliasSet), "an alias that exists may be renewed"


def test_aliases_that_are_being_stored_count_towards_the_limit(
    worker: MailboxWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_ALIASES", 100)
    for number in range(200):
        worker.handle(SetAlias(number + 1, f"s{number}", f"agent-{number}", 1 << 50))
    assert sum(isinstance(command, WriteAlias) for command in worker.commands()) == 100


def test_requests_that_arrive_together_never_lead_an_alias_to_another_alias(worker: MailboxWorker) -> None:
    worker.handle(SetAlias(1, "s1", "ann", 1 << 50))
    worker.handle(SetAlias(2, "ann", "bob", 1 << 50))
    worker.handle(SetAlias(3, "s2", "s1", 1 << 50))
    commands = [command for command in worker.commands() if isinstance(command, WriteAlias)]
    assert [(command.session, command.agent) for command in commands] == [("s1", "ann")]
    refusals = [event for event in worker.answers() if isinstance(event, CallFailed)]
    assert [(refusal.call, refusal.reason) for refusal in refusals] == [(2, "ALIAS_CONFLICT"), (3, "ALIAS_CONFLICT")]


def test_an_alias_that_could_not_be_stored_is_no_longer_pending(worker: MailboxWorker) -> None:
    worker.handle(SetAlias(1, "s1", "ann", 1 << 50))
    (command,) = [command for command in worker.commands() if isinstance(command, WriteAlias)]
    worker.report(CommandRefused(command.id, "STORAGE_FULL", "the disk is full", 0))
    assert len(worker.state.pending_aliases) == 0
    worker.answers()
    assert isinstance(set_alias(worker, "ann", "bob"), AliasSet)
