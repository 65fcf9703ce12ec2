"""An agent makes a bounded number of new mailboxes at once; the owner as many as it likes."""

import pytest
from mailroomd.mailbox import new_names
from mailroomd.mailbox.new_names import NEW_NAMES, NewNames
from mailroomd.model.message import Draft


def of_agent(sender: str) -> Draft:
    return Draft("new", sender, "x", verified=True)


def made(names: NewNames, draft: Draft, now_sec: float, *, tries: int) -> int:
    """Returns how many of some attempts to make a mailbox are allowed."""
    return sum(names.refusal(draft, draft.sender, now_sec) is None for _ in range(tries))


def test_an_agent_makes_a_thousand_mailboxes_at_once_and_then_one_a_second() -> None:
    names, draft = NewNames(), of_agent("eve")
    assert made(names, draft, 0, tries=5000) == NEW_NAMES == 1000
    assert made(names, draft, 10, tries=100) == 10
    refusal = names.refusal(draft, "eve", 10)
    assert refusal is not None
    assert (refusal.reason, refusal.field, refusal.retry_after_ms) == ("RATE_LIMITED", "recipient", 1000)
    assert made(names, draft, 10 + 1000, tries=5000) == NEW_NAMES


def test_what_one_agent_makes_does_not_count_for_another() -> None:
    names = NewNames()
    made(names, of_agent("eve"), 0, tries=5000)
    assert made(names, of_agent("bob"), 0, tries=5000) == NEW_NAMES


def test_the_owner_and_administrators_may_send_to_any_number_of_new_names() -> None:
    assert made(NewNames(), Draft("new", "eve", "x"), 0, tries=5000) == 5000


def test_the_senders_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_names, "MAX_SENDERS", 10)
    names = NewNames()
    for number in range(100):
        names.refusal(of_agent(f"a{number}"), f"a{number}", 0)
    assert len(names) == 10
    names.refusal(of_agent("late"), "late", 5)
    assert len(names) == 1, "full buckets are forgotten"
