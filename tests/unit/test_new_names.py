"""An agent makes a bounded number of new mailboxes at once; the owner as many as it likes."""

import pytest
from mailroomd.mailbox import new_names
from mailroomd.mailbox.new_names import NEW_NAMES, NewNames
from mailroomd.protocol.operations import Send


def of_agent(sender: str, *, verified: bool = True) -> Send:
    return Send("new", sender, verified, "key")


def made(names: NewNames, send: Send, now_sec: float, *, tries: int) -> int:
    """Returns how many of some attempts to make a mailbox are allowed."""
    return sum(names.refusal(send, send.recipient, send.sender, now_sec) is None for _ in range(tries))


def test_an_agent_makes_a_thousand_mailboxes_at_once_and_then_one_a_second() -> None:
    names, send = NewNames(), of_agent("eve")
    assert made(names, send, 0, tries=5000) == NEW_NAMES == 1000
    assert made(names, send, 10, tries=100) == 10
    refusal = names.refusal(send, "new", "eve", 10)
    assert refusal is not None
    assert (refusal.reason, refusal.field, refusal.retry_after_ms) == ("RATE_LIMITED", "recipient", 1000)
    assert made(names, send, 10 + 1000, tries=5000) == NEW_NAMES


def test_what_one_agent_makes_does_not_count_for_another() -> None:
    names = NewNames()
    made(names, of_agent("eve"), 0, tries=5000)
    assert made(names, of_agent("bob"), 0, tries=5000) == NEW_NAMES


def test_the_owner_and_administrators_may_send_to_any_number_of_new_names() -> None:
    assert made(NewNames(), of_agent("eve", verified=False), 0, tries=5000) == 5000


def test_the_senders_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_names, "MAX_SENDERS", 10)
    names = NewNames()
    for number in range(100):
        names.refusal(of_agent(f"a{number}"), "new", f"a{number}", 0)
    assert len(names) == 10
    names.refusal(of_agent("late"), "new", "late", 5)
    assert len(names) == 1, "full buckets are forgotten"
