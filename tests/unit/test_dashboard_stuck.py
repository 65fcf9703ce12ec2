"""Stuck mailboxes: after which time, in which order, and for which reason."""

from datetime import UTC, datetime

import pytest
from mailroom import AgentInfo, MailboxStats, Message
from mailroom.states import DeliveryState, Priority
from mailroom_apps.dashboard.stuck import find_stuck

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


def message(age_sec: float, *, state: str = "filed", priority: str = "normal", message_id: str = "1a" * 8) -> Message:
    return Message(
        id=message_id,
        recipient="bob",
        sender="ana",
        content="x",
        type="text",
        timestamp=datetime.fromtimestamp(NOW - age_sec, UTC),
        read=False,
        metadata={},
        thread_id=None,
        in_reply_to=None,
        priority=Priority(priority),
        expires_at=None,
        state=DeliveryState(state),
        sender_verified=False,
    )


def agent(name: str = "bob", *, alive: bool = True) -> dict[str, AgentInfo]:
    return {name: AgentInfo(name, alive, datetime.fromtimestamp(NOW - 2580, UTC), 0, 1, ())}


def why(unread: list[Message], agents: dict[str, AgentInfo], errors: dict[str, str] | None = None) -> tuple[str, str]:
    stats = [MailboxStats("bob", len(unread), len(unread), 900, 0, None)]
    (found,) = find_stuck(stats, agents, {"bob": unread}, errors or {}, NOW)
    return found.why, found.sentence


@pytest.mark.parametrize(("priority", "limit"), [("urgent", 60), ("high", 120), ("normal", 300), ("low", 300)])
def test_mail_is_stuck_after_the_time_that_its_priority_allows(priority: str, limit: int) -> None:
    stats = [MailboxStats("bob", 1, 1, limit, 0, None)]

    def found(age_sec: float) -> int:
        return len(find_stuck(stats, agent(), {"bob": [message(age_sec, priority=priority)]}, {}, NOW))

    assert (found(limit - 1), found(limit)) == (0, 1)


def test_the_time_can_be_chosen_and_urgent_mail_has_a_fifth_of_it() -> None:
    stats = [MailboxStats("bob", 1, 1, 30, 0, None)]

    def found(age_sec: float, priority: str) -> int:
        return len(find_stuck(stats, agent(), {"bob": [message(age_sec, priority=priority)]}, {}, NOW, 100.0))

    assert [found(20, "urgent"), found(19, "urgent"), found(40, "high"), found(99, "low")] == [1, 0, 1, 0]


def test_a_mailbox_that_is_nearly_full_says_so_first() -> None:
    def found(unread: int) -> tuple[str, str]:
        stats = [MailboxStats("bob", unread, unread, 900, 0, None)]
        (one,) = find_stuck(stats, agent(), {"bob": [message(900)]}, {}, NOW, max_unread=1000)
        return one.why, one.sentence

    assert found(899)[0] == "waiting"
    assert found(934)[0] == "full"
    assert found(934)[1].startswith("93 % of 1,000 unread messages, then sends to it are refused; in the inbox")


def test_each_reason_is_named() -> None:
    assert why([message(900)], agent()) == (
        "waiting",
        "in the inbox, but not offered yet; are the agent's hooks set up?",
    )
    assert why([message(900, state="offered")], agent()) == ("unread", "offered, but not acknowledged")
    assert why([message(900)], agent(alive=False)) == ("away", "agent not seen for 43m")
    assert why([message(900, state="stored")], agent()) == ("file", "inbox file not written yet")
    assert why([message(900)], agent("bobb")) == (
        "unknown",
        "no agent of this name has ever been present: did you mean bobb?",
    )
    assert why([message(900)], {}) == ("unknown", "no agent of this name has ever been present")
    full = why([message(900, state="stored")], agent(), {"1a" * 8: "No space left on device"})
    assert full == ("file", "inbox file not written: No space left on device")


def test_mail_for_another_host_is_judged_by_what_that_host_has_said() -> None:
    def found(state: str) -> tuple[str, str]:
        stats = [MailboxStats("bob:build7", 1, 1, 900, 0, None)]
        (one,) = find_stuck(stats, {}, {"bob:build7": [message(900, state=state)]}, {}, NOW)
        return one.why, one.sentence

    assert found("stored") == (
        "host",
        "not yet confirmed by the host build7; `mailroom hub hosts` says why mail for it waits",
    )
    assert found("filed") == ("unread", "on the host build7, but not acknowledged there")


def test_urgent_mail_comes_first_then_the_oldest() -> None:
    stats = [MailboxStats(name, 1, 1, age, 0, None) for name, age in (("a", 400), ("b", 900), ("c", 70))]
    unread = {"a": [message(400)], "b": [message(900)], "c": [message(70, priority="urgent")]}
    assert [each.agent for each in find_stuck(stats, {}, unread, {}, NOW)] == ["c", "b", "a"]
