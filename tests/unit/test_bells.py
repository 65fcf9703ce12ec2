"""A bell rings for its causes and for nothing else, as often as it likes; who hears it looks again."""

import asyncio
from collections.abc import Iterable

import pytest
from mailroomd.rpc.bells import EVERYTHING, Bells, causes


@pytest.fixture
def counts() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def bells(counts: list[tuple[str, int]]) -> Bells:
    return Bells(lambda agent, count: counts.append((agent, count)))


def heard(bells: Bells, mailboxes: Iterable[str] = (), senders: Iterable[str] = ()) -> list[str]:
    """Returns which of five bells ring."""
    wanted = {
        "mail of a": causes(["a"]),
        "mail of a or b": causes(["a", "b"]),
        "receipts of a": causes(["a"], receipts=True) - causes(["a"]),
        "all of b": causes(["b"], receipts=True),
        "everything": EVERYTHING,
    }
    hung = {name: bells.hung(what) for name, what in wanted.items()}
    rung = {name: one.__enter__() for name, one in hung.items()}
    bells.ring(mailboxes, senders)
    found = [name for name, bell in rung.items() if bell.is_set()]
    for one in hung.values():
        one.__exit__(None, None, None)
    return found


def test_mail_rings_for_its_mailbox_and_a_receipt_for_its_sender(bells: Bells) -> None:
    assert heard(bells, mailboxes=["a"]) == ["mail of a", "mail of a or b", "everything"]
    assert heard(bells, mailboxes=["b"]) == ["mail of a or b", "all of b", "everything"]
    assert heard(bells, senders=["a"]) == ["receipts of a", "everything"]
    assert heard(bells, senders=["b"]) == ["all of b", "everything"]
    assert heard(bells, mailboxes=["c"], senders=["c"]) == ["everything"]


def test_where_nobody_is_named_everybody_is_meant(bells: Bells) -> None:
    assert len(heard(bells)) == 5


def test_a_bell_that_is_hung_elsewhere_rings_for_the_new_causes_only(bells: Bells) -> None:
    with bells.hung(causes(["a", "b"])) as bell:
        bells.hang(bell, causes(["b", "c"]))
        bells.ring(["a"], [])
        assert not bell.is_set()
        for name in ("b", "c"):
            bells.ring([name], [])
            assert bell.is_set()
            bell.clear()
    bells.ring_all()
    assert not bell.is_set(), "it is taken down"


def test_a_bell_that_rang_before_anybody_waited_is_heard_once(bells: Bells) -> None:
    async def play() -> list[bool]:
        with bells.hung(causes(["a"])) as bell:
            now = asyncio.get_running_loop().time()
            bells.ring(["a"], [])
            bells.ring(["a"], [])
            return [
                await bell.rings_before(now + 20),
                await bell.rings_before(now + 0.01),
                await bell.rings_before(now),
            ]

    assert asyncio.run(play()) == [True, False, False]


def test_live_subscribers_are_counted_and_each_change_is_told(bells: Bells, counts: list[tuple[str, int]]) -> None:
    with bells.subscriber("a"), bells.subscriber("b"):
        with bells.subscriber("a"):
            assert bells.subscribers() == [("a", 2), ("b", 1)]
        assert bells.subscribers() == [("a", 1), ("b", 1)]
    assert bells.subscribers() == []
    assert counts == [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 0), ("a", 0)]
