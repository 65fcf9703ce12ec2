"""How many messages an agent got and sent in the last hour."""

from dataclasses import replace
from datetime import UTC, datetime

from mailroom import Message
from mailroom.states import DeliveryState, Priority
from mailroom_apps.dashboard.activity import MAX_AGENTS, Activity

NOW = 1_764_000_000.0
MESSAGE = Message(
    id="1a" * 8,
    recipient="bob",
    sender="ana",
    content="x",
    type="text",
    timestamp=None,
    read=False,
    metadata={},
    thread_id=None,
    in_reply_to=None,
    priority=Priority.NORMAL,
    expires_at=None,
    state=DeliveryState.FILED,
    sender_verified=False,
)


def message(age_sec: float, sender: str = "ana", to: str = "bob") -> Message:
    return replace(MESSAGE, sender=sender, recipient=to, timestamp=datetime.fromtimestamp(NOW - age_sec, UTC))


def test_messages_are_counted_on_both_sides_in_bars_of_five_minutes() -> None:
    activity = Activity()
    for age_sec in (1, 2, 239, 3_300, 3_540):
        activity.record(message(age_sec))
    activity.record(message(1, "bob", "ana"))
    assert activity.of("bob", NOW) == {"in": 5, "out": 1, "bars": [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]}
    assert activity.of("ana", NOW)["out"] == 5
    assert activity.of("nobody", NOW) == {"in": 0, "out": 0, "bars": [0] * 12}


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    activity = Activity()
    activity.record(message(3_700))
    activity.record(message(10))
    assert activity.of("bob", NOW)["in"] == 1
    assert activity.of("bob", NOW + 3_700) == {"in": 0, "out": 0, "bars": [0] * 12}


def test_a_clock_that_is_a_little_ahead_counts_for_the_last_bar() -> None:
    activity = Activity()
    activity.record(message(-90))
    assert activity.of("bob", NOW)["bars"][-1] == 1


def test_the_number_of_names_is_bounded() -> None:
    activity = Activity()
    for number in range(MAX_AGENTS + 10):
        activity.record(message(1, "ana", f"agent-{number}"))
    assert activity.of(f"agent-{MAX_AGENTS + 5}", NOW)["in"] == 0
    assert activity.of("ana", NOW)["out"] == MAX_AGENTS + 10
    activity.of("ana", NOW + 3_700)
    activity.record(replace(MESSAGE, recipient="late", timestamp=datetime.fromtimestamp(NOW + 3_700, UTC)))
    assert activity.of("late", NOW + 3_700)["in"] == 1
