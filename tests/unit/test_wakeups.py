"""A waiter is notified for its topics and nothing else, and repeated notifications count as one."""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack

import pytest
from mailroomd.gateway.wakeups import ALL_TOPICS, Wakeups, topics_of


@pytest.fixture
def counts() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def wakeups(counts: list[tuple[str, int]]) -> Wakeups:
    return Wakeups(lambda agent, count: counts.append((agent, count)))


def notified(wakeups: Wakeups, mailboxes: Iterable[str] = (), senders: Iterable[str] = ()) -> list[str]:
    """Returns which of five waiters are notified."""
    topics = {
        "mail of a": topics_of(["a"]),
        "mail of a or b": topics_of(["a", "b"]),
        "receipts of a": topics_of(["a"], receipts=True) - topics_of(["a"]),
        "all of b": topics_of(["b"], receipts=True),
        "everything": ALL_TOPICS,
    }
    with ExitStack() as stack:
        waiters = {name: stack.enter_context(wakeups.waiter(of_name)) for name, of_name in topics.items()}
        wakeups.notify(mailboxes, senders)
        return [name for name, waiter in waiters.items() if waiter.is_set()]


def test_mail_notifies_its_mailbox_and_a_receipt_its_sender(wakeups: Wakeups) -> None:
    assert notified(wakeups, mailboxes=["a"]) == ["mail of a", "mail of a or b", "everything"]
    assert notified(wakeups, mailboxes=["b"]) == ["mail of a or b", "all of b", "everything"]
    assert notified(wakeups, senders=["a"]) == ["receipts of a", "everything"]
    assert notified(wakeups, senders=["b"]) == ["all of b", "everything"]
    assert notified(wakeups, mailboxes=["c"], senders=["c"]) == ["everything"]


def test_a_notification_without_names_reaches_every_waiter(wakeups: Wakeups) -> None:
    assert len(notified(wakeups)) == 5


def test_a_waiter_with_new_topics_is_notified_for_those_only(wakeups: Wakeups) -> None:
    with wakeups.waiter(topics_of(["a", "b"])) as waiter:
        wakeups.set_topics(waiter, topics_of(["b", "c"]))
        wakeups.notify(["a"], [])
        assert not waiter.is_set()
        for name in ("b", "c"):
            wakeups.notify([name], [])
            assert waiter.is_set()
            waiter.clear()
    wakeups.notify_all()
    assert not waiter.is_set(), "it has been removed"


def test_notifications_before_the_wait_count_as_one(wakeups: Wakeups) -> None:
    async def wait_three_times() -> list[bool]:
        with wakeups.waiter(topics_of(["a"])) as waiter:
            now = asyncio.get_running_loop().time()
            wakeups.notify(["a"], [])
            wakeups.notify(["a"], [])
            return [
                await waiter.wait_until(now + 20),
                await waiter.wait_until(now + 0.01),
                await waiter.wait_until(now),
            ]

    assert asyncio.run(wait_three_times()) == [True, False, False]


def test_each_change_of_the_live_subscribers_is_reported(wakeups: Wakeups, counts: list[tuple[str, int]]) -> None:
    with wakeups.subscriber("a"), wakeups.subscriber("b"):
        with wakeups.subscriber("a"):
            assert wakeups.subscriber_counts() == [("a", 2), ("b", 1)]
        assert wakeups.subscriber_counts() == [("a", 1), ("b", 1)]
    assert wakeups.subscriber_counts() == []
    assert counts == [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 0), ("a", 0)]
