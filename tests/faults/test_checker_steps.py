"""The checker's judges of receipts, responses, team inboxes, expiry, clearing, aliases and the index, by violations."""

from collections.abc import Callable

import pytest
from support.faults.checker import broken_promises
from support.faults.evidence import Evidence, Step
from support.faults.load_plan import CLEARED_MAILBOX, CLEARING_SENDER, MOVING_SESSION, STEADY_SESSION, TEAM_MAILBOX
from support.faults.sound_evidence import (
    EXPIRED_ONE,
    FIRST,
    RESPONSE,
    SECOND,
    TAKEN_ONE,
    TEAM_ONE,
    THIRD,
    sound_evidence,
)

FILED, OFFERED, READ, EXPIRED, OVERDUE = 2, 3, 4, 5, 6
BROKEN = "database disk image is malformed"


def lose_a_receipt(evidence: Evidence) -> None:
    del evidence.receipts[0]


def give_a_receipt_twice(evidence: Evidence) -> None:
    evidence.receipts.append((Step(SECOND + 200, SECOND, READ), "s"))


def give_a_receipt_to_another_sender(evidence: Evidence) -> None:
    evidence.receipts[0] = evidence.receipts[0][0], "somebody"


def let_a_state_go_back(evidence: Evidence) -> None:
    evidence.receipts.append((Step(SECOND + 200, SECOND, OFFERED), "s"))


def miss_a_receipt_in_a_stream(evidence: Evidence) -> None:
    del evidence.streams[2].receipts[0]


def miss_a_receipt_in_the_stream_of_all(evidence: Evidence) -> None:
    del evidence.streams[1].receipts[0]


def repeat_a_receipt_in_a_stream(evidence: Evidence) -> None:
    stream = evidence.streams[2]
    stream.receipts.append(stream.receipts[-1])
    stream.events.append(stream.events[-1])


def show_an_offer_that_is_not_stored(evidence: Evidence) -> None:
    evidence.streams[2].receipts.insert(1, Step(FIRST + 2, FIRST, OFFERED))


def show_a_state_that_goes_back(evidence: Evidence) -> None:
    evidence.streams[2].receipts.append(Step(SECOND + 300, SECOND, FILED))


def stream_receipts_that_nobody_wanted(evidence: Evidence) -> None:
    evidence.streams[0].receipts.append(Step(FIRST + 1, FIRST, FILED))


def never_tell_of_a_missing_answer(evidence: Evidence) -> None:
    evidence.receipts = [row for row in evidence.receipts if row[0].state != OVERDUE]


def tell_of_a_missing_answer_twice(evidence: Evidence) -> None:
    evidence.receipts.append((Step(TAKEN_ONE + 200, SECOND, OVERDUE), "s"))


def tell_of_an_answer_that_nobody_wanted(evidence: Evidence) -> None:
    evidence.receipts.append((Step(TAKEN_ONE + 200, FIRST, OVERDUE), "s"))


def mix_up_the_order_of_events(evidence: Evidence) -> None:
    evidence.streams[1].events.reverse()


def lose_a_response(evidence: Evidence) -> None:
    evidence.responses.clear()


def store_a_response_twice(evidence: Evidence) -> None:
    evidence.responses.append(RESPONSE._replace(id=RESPONSE.id + 1))


def store_a_response_that_nobody_left(evidence: Evidence) -> None:
    evidence.responses.append(RESPONSE._replace(id=RESPONSE.id + 1, name="2.json"))


def leave_a_file_in_the_outbox(evidence: Evidence) -> None:
    evidence.outbox.append(("o0", "1.json"))


def miss_a_response_in_a_stream(evidence: Evidence) -> None:
    evidence.streams[1].responses.clear()


def repeat_a_response_in_a_stream(evidence: Evidence) -> None:
    evidence.streams[3].responses.append(RESPONSE)


def lose_an_entry_of_the_team_inbox(evidence: Evidence) -> None:
    evidence.team_entries[TEAM_MAILBOX] = []


def append_to_the_team_inbox_twice(evidence: Evidence) -> None:
    evidence.team_entries[TEAM_MAILBOX].append(TEAM_ONE)


def append_what_does_not_exist_to_the_team_inbox(evidence: Evidence) -> None:
    evidence.team_entries[TEAM_MAILBOX].append(TEAM_ONE + 5)


def never_say_that_the_entry_is_there(evidence: Evidence) -> None:
    evidence.messages[TEAM_ONE].team_error = "its lock is held"


def let_mail_expire_without_a_time(evidence: Evidence) -> None:
    evidence.messages[EXPIRED_ONE].expires_ms = 0


def let_mail_expire_too_early(evidence: Evidence) -> None:
    evidence.messages[EXPIRED_ONE].ended_ms = 10


def let_mail_outlive_its_time(evidence: Evidence) -> None:
    evidence.messages[THIRD].expires_ms = 1
    evidence.messages[SECOND].ended_ms = 10_000


def bring_cleared_mail_back(evidence: Evidence) -> None:
    evidence.messages[FIRST].recipient = evidence.sends[0].recipient = evidence.sends[0].to = CLEARED_MAILBOX


def clear_what_was_sent_long_after(evidence: Evidence) -> None:
    sent = evidence.sends[0]
    sent.recipient = sent.to = CLEARED_MAILBOX
    sent.sender, sent.begun, sent.ended = CLEARING_SENDER, 1000.0, 1001.0
    del evidence.messages[FIRST]


def forget_a_file_to_be_removed(evidence: Evidence) -> None:
    evidence.cleared_files.append(FIRST)


def forget_an_alias(evidence: Evidence) -> None:
    del evidence.aliases[STEADY_SESSION]


def keep_an_alias_that_was_ended(evidence: Evidence) -> None:
    evidence.aliases[MOVING_SESSION] = "r4"


def send_around_an_alias(evidence: Evidence) -> None:
    evidence.sends[0].to = STEADY_SESSION


def send_to_somebody_elses_agent(evidence: Evidence) -> None:
    evidence.sends[0].to = MOVING_SESSION


def break_the_index(evidence: Evidence) -> None:
    evidence.index_faults.append(BROKEN)


def put_a_taken_file_back_to_unread(evidence: Evidence) -> None:
    evidence.messages[TAKEN_ONE].state = FILED


@pytest.mark.parametrize(
    ("tamper", "word"),
    [
        (lose_a_receipt, "receipts: the last one of"),
        (give_a_receipt_twice, "receipts: the states of"),
        (give_a_receipt_to_another_sender, "receipts: one of"),
        (let_a_state_go_back, "receipts: the states of"),
        (miss_a_receipt_in_a_stream, "receipts: the subscriber of s missed"),
        (miss_a_receipt_in_the_stream_of_all, "receipts: the subscriber of all mailboxes missed"),
        (repeat_a_receipt_in_a_stream, "stream"),
        (show_an_offer_that_is_not_stored, "receipts: the subscriber of s saw"),
        (show_a_state_that_goes_back, "receipts"),
        (stream_receipts_that_nobody_wanted, "receipts"),
        (never_tell_of_a_missing_answer, "overdue"),
        (tell_of_a_missing_answer_twice, "overdue"),
        (tell_of_an_answer_that_nobody_wanted, "overdue"),
        (mix_up_the_order_of_events, "stream"),
        (lose_a_response, "responses"),
        (store_a_response_twice, "responses"),
        (store_a_response_that_nobody_left, "responses"),
        (leave_a_file_in_the_outbox, "responses"),
        (miss_a_response_in_a_stream, "responses: the subscriber of all mailboxes missed"),
        (repeat_a_response_in_a_stream, "responses: the subscriber of o0 saw"),
        (lose_an_entry_of_the_team_inbox, "team inbox"),
        (append_to_the_team_inbox_twice, "team inbox"),
        (append_what_does_not_exist_to_the_team_inbox, "team inbox"),
        (never_say_that_the_entry_is_there, "team inbox"),
        (let_mail_expire_without_a_time, "expiry"),
        (let_mail_expire_too_early, "expiry"),
        (let_mail_outlive_its_time, "expiry"),
        (bring_cleared_mail_back, "cleared"),
        (clear_what_was_sent_long_after, "cleared"),
        (forget_a_file_to_be_removed, "cleared"),
        (forget_an_alias, "alias"),
        (keep_an_alias_that_was_ended, "alias"),
        (send_around_an_alias, "alias"),
        (send_to_somebody_elses_agent, "alias"),
        (break_the_index, "database"),
        (put_a_taken_file_back_to_unread, "unread again"),
    ],
)
def test_each_broken_promise_is_named(tamper: Callable[[Evidence], None], word: str) -> None:
    evidence = sound_evidence()
    tamper(evidence)
    assert any(said.startswith(word) for said in broken_promises(evidence)), broken_promises(evidence)


def test_what_was_swept_after_it_was_read_is_not_missed() -> None:
    evidence = sound_evidence()
    evidence.is_swept = True
    del evidence.messages[SECOND]
    evidence.counters["r1"] = evidence.stats["r1"] = (0, 0)
    assert broken_promises(evidence) == []


def test_what_was_swept_without_having_been_read_is_missed() -> None:
    evidence = sound_evidence()
    evidence.is_swept = True
    del evidence.messages[THIRD]
    assert any(said.startswith("lost") for said in broken_promises(evidence))


def test_an_offer_that_a_power_cut_undid_may_be_seen_twice_and_a_reading_may_not() -> None:
    evidence = sound_evidence()
    evidence.had_power_cuts = True
    stream = evidence.streams[2]
    stream.receipts.insert(1, Step(FIRST + 2, FIRST, OFFERED))
    stream.receipts.insert(2, Step(FIRST + 3, FIRST, OFFERED))
    assert broken_promises(evidence) == []
    stream.receipts.append(Step(TAKEN_ONE + 300, TAKEN_ONE, READ))
    assert broken_promises(evidence) != []
