"""A bell rings for its causes and for nothing else, as often as it likes; who hears it looks again."""

import asyncio
from collections.abc import Iterable

import pytest
from mailroomd.gateway.wakeups import EVERYTHING, Wakeups, causes


@pytest.fixture
def counts() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def wakeups(counts: list[tuple[str, int]]) -> Wakeups:
    return Wakeups(lambda agent, count: counts.append((agent, count)))


def heard(wakeups: Wakeups, mailboxes: Iterable[str] = (), senders: Iterable[str] = ()) -> list[str]:
    """Returns which of five wakeups notify."""
    wanted = {
        "mail of a": causes(["a"]),
        "mail of a or b": causes(["a", "b"]),
        "receipts of a": causes(["a"], receipts=True) - causes(["a"]),
        "all of b": causes(["b"], receipts=True),
        "everything": EVERYTHING,
    }
    hung = {name: wakeups.hung(what) for name, what in wanted.items()}
    rung = {name: one.__enter__() for name, one in hung.items()}
    wakeups.notify(mailboxes, senders)
    found = [name for name, bell in rung.items() if bell.is_set()]
    for one in hung.values():
        one.__exit__(None, None, None)
    return found


def test_mail_rings_for_its_mailbox_and_a_receipt_for_its_sender(wakeups: Wakeups) -> None:
    assert heard(wakeups, mailboxes=["a"]) == ["mail of a", "mail of a or b", "everything"]
    assert heard(wakeups, mailboxes=["b"]) == ["mail of a or b", "all of b", "everything"]
    assert heard(wakeups, senders=["a"]) == ["receipts of a", "everything"]
    assert heard(wakeups, senders=["b"]) == ["all of b", "everything"]
    assert heard(wakeups, mailboxes=["c"], senders=["c"]) == ["everything"]


def test_where_nobody_is_named_everybody_is_meant(wakeups: Wakeups) -> None:
    assert len(heard(wakeups)) == 5


def test_a_bell_that_is_hung_elsewhere_rings_for_the_new_causes_only(wakeups: Wakeups) -> None:
    with wakeups.hung(causes(["a", "b"])) as bell:
        wakeups.hang(bell, causes(["b", "c"]))
        wakeups.notify(["a"], [])
        assert not bell.is_set()
        for name in ("b", "c"):
            wakeups.notify([name], [])
            assert bell.is_set()
            bell.clear()
    wakeups.notify_all()
    assert not bell.is_set(), "it is taken down"


def test_a_bell_that_rang_before_anybody_waited_is_heard_once(wakeups: Wakeups) -> None:
    async def play() -> list[bool]:
        with wakeups.hung(causes(["a"])) as bell:
            now = asyncio.get_running_loop().time()
            wakeups.notify(["a"], [])
            wakeups.notify(["a"], [])
            return [
                await bell.rings_before(now + 20),
                await bell.rings_before(now + 0.01),
                await bell.rings_before(now),
            ]

    assert asyncio.run(play()) == [True, False, False]


def test_live_subscribers_are_counted_and_each_change_is_told(wakeups: Wakeups, counts: list[tuple[str, int]]) -> None:
    with wakeups.subscriber("a"), wakeups.subscriber("b"):
        with wakeups.subscriber("a"):
            assert wakeups.subscribers() == [("a", 2), ("b", 1)]
        assert wakeups.subscribers() == [("a", 1), ("b", 1)]
    assert wakeups.subscribers() == []
    assert counts == [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 0), ("a", 0)]
