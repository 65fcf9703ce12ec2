"""Two links over real queues, with deaths at every step: conversations are never mixed, and nothing is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from mailroomd.ipc.link import Link
from mailroomd.ipc.queue import PacketQueue
from mailroomd.protocol.packets import Hello, Reset

BULK = "x" * 20_000  # three to a packet, so that a queue is full after a dozen


class PendingRequest(msgspec.Struct, frozen=True, array_like=True, tag=True):
    asker: int
    number: int
    bulk: str = ""


class Told(msgspec.Struct, frozen=True, array_like=True, tag=True):
    asker: int
    teller: int
    number: int
    bulk: str = ""


def queue(name: str) -> "PacketQueue[Any]":
    return PacketQueue(name, (Hello, Reset, PendingRequest, Told))


@dataclass
class Asker:
    """A side that repeats what is unanswered, as gateway and mailbox do towards what is below them."""

    epoch: int
    link: Link[Told, PendingRequest] = field(init=False)
    unanswered: dict[int, PendingRequest] = field(default_factory=dict[int, PendingRequest])
    peer: int = 0


@dataclass
class Teller:
    """A side that settles what it hears at once and remembers nothing."""

    epoch: int
    link: Link[PendingRequest, Told] = field(init=False)
    peer: int = 0
    heard: list[int] = field(default_factory=list[int])  # in this conversation


class LinkMachine(RuleBasedStateMachine):
    """The one class among the tests: hypothesis' state machines are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.asks, self.answers = queue("asks"), queue("answers")
        self.last_number = 0
        self.settled: set[int] = set()  # durable, like the database: survives every teller
        self.asker, self.teller = Asker(0), Teller(0)
        self.restart_asker()
        self.restart_teller()

    def teardown(self) -> None:
        self.talk_until_quiet()
        assert not self.asker.unanswered
        assert self.asker.link.is_hearing
        assert self.teller.link.is_hearing
        self.asks.close()
        self.answers.close()

    # -- deaths ---------------------------------------------------------------------------------------------------

    @rule()
    def restart_asker(self) -> None:
        asker = self.asker = Asker(self.asker.epoch + 1)
        asker.link = Link(asker.epoch, self.answers, self.asks, asker.unanswered.values)
        asker.link.greet()

    @rule()
    def restart_teller(self) -> None:
        teller = self.teller = Teller(self.teller.epoch + 1)
        teller.link = Link(teller.epoch, self.asks, self.answers, list)
        teller.link.greet()

    # -- the steps of a turn --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4), bulk=st.sampled_from(["", BULK]))
    def ask(self, count: int, bulk: str) -> None:
        if not self.asker.link.is_hearing:
            return  # the mailbox gives out no id before it is answered; a gateway takes no call
        for _ in range(count):
            self.last_number += 1
            item = PendingRequest(self.asker.epoch, self.last_number, bulk)
            self.asker.unanswered[item.number] = item
            self.asker.link.send(item)

    @rule()
    def flush_asker(self) -> None:
        assert self.asker.link.flush() == (self.asker.link.backlog == 0)

    @rule()
    def flush_teller(self) -> None:
        assert self.teller.link.flush() == (self.teller.link.backlog == 0)

    @rule(dies_after=st.none() | st.integers(0, 5))
    def teller_hears(self, dies_after: int | None) -> None:
        teller = self.teller
        for index, item in enumerate(teller.link.receive()):
            if index == dies_after:
                self.restart_teller()
                return
            if isinstance(item, Hello):
                assert item.epoch > teller.peer, "each start of the peer is heard of once"
                teller.peer = item.epoch
                teller.heard.clear()
                teller.link.welcome(item)
                continue
            assert item.asker >= teller.peer, "an item of a conversation that was over"
            assert not teller.heard or item.number > teller.heard[-1], "out of order, or twice"
            teller.heard.append(item.number)
            self.settled.add(item.number)
            teller.link.send(Told(item.asker, teller.epoch, item.number, item.bulk))

    @rule(dies_after=st.none() | st.integers(0, 5))
    def asker_hears(self, dies_after: int | None) -> None:
        asker = self.asker
        for index, item in enumerate(asker.link.receive()):
            if index == dies_after:
                self.restart_asker()
                return
            if isinstance(item, Hello):
                assert item.epoch > asker.peer, "each start of the peer is heard of once"
                asker.peer = item.epoch
                asker.link.welcome(item)
                continue
            assert item.asker == asker.epoch, "an answer to a predecessor"
            assert item.teller >= asker.peer, "an answer of a predecessor, after its successor's Hello"
            assert item.number in self.settled
            asker.unanswered.pop(item.number, None)

    @rule()
    def talk_until_quiet(self) -> None:
        for _ in range(500):
            self.flush_asker()
            self.teller_hears(None)
            self.flush_teller()
            self.asker_hears(None)
            quiet = not (self.asker.link.backlog or self.teller.link.backlog or self.asker.unanswered)
            if quiet and self.asker.link.is_hearing and self.teller.link.is_hearing:
                return
        raise AssertionError("the two sides never agree")


test_conversations_are_never_mixed_and_everything_is_answered_at_last = LinkMachine.TestCase
LinkMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def queues() -> Iterator[tuple["PacketQueue[Any]", "PacketQueue[Any]"]]:
    pair = queue("down"), queue("up")
    yield pair
    for one in pair:
        one.close()


Pair = tuple["PacketQueue[Any]", "PacketQueue[Any]"]


def links(
    queues: Pair, upper: int, lower: int, unanswered: list[PendingRequest]
) -> tuple[Link[Told, PendingRequest], Link[PendingRequest, Told]]:
    down, up = queues
    above: Link[Told, PendingRequest] = Link(upper, up, down, lambda: unanswered)
    below: Link[PendingRequest, Told] = Link(lower, down, up, list)
    return above, below


def welcome_all(link: Link[Any, Any]) -> list[Any]:
    heard = link.receive()
    for item in heard:
        if isinstance(item, Hello):
            link.welcome(item)
    return [item for item in heard if not isinstance(item, Hello)]


def test_nothing_is_heard_before_the_peer_has_answered(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    queues[1].put(Told(0, 0, 7))  # left over from a conversation that nobody here took part in
    above.greet()
    assert above.receive() == []
    assert not above.is_hearing
    assert below.receive() == [Hello(1)]
    below.welcome(Hello(1))
    below.send(Told(1, 1, 8))
    below.flush()
    assert welcome_all(above) == [Told(1, 1, 8)]


def test_what_is_unanswered_is_said_again_in_order_and_once_though_both_have_restarted(queues: Pair) -> None:
    unanswered = [PendingRequest(2, number) for number in range(1, 4)]
    above, below = links(queues, 2, 2, unanswered)
    above.greet()
    below.greet()
    heard = [item for _ in range(4) for item in welcome_all(below) + welcome_all(above)]
    assert heard == unanswered
    assert above.is_hearing
    assert below.is_hearing


def test_a_hello_that_was_read_by_a_peer_that_died_is_said_again(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    above.greet()
    below.receive()  # and dies before it answers
    _, below = links(queues, 1, 2, [])
    below.greet()
    for _ in range(3):
        welcome_all(above)
        welcome_all(below)
    assert above.is_hearing
    assert below.is_hearing


def test_an_answer_to_a_predecessors_hello_does_not_count(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    above.greet()
    welcome_all(below)
    below.send(Told(1, 1, 1))
    below.flush()
    above, _ = links(queues, 2, 1, [])  # its predecessor died before it read the Reset
    above.greet()
    assert welcome_all(above) == []
    assert not above.is_hearing
    welcome_all(below)
    assert welcome_all(above) == []
    assert above.is_hearing


def test_a_backlog_keeps_its_order_through_a_full_queue(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    for link in (above, below):
        link.greet()
    for link in (above, below, above):
        welcome_all(link)
    asked = [PendingRequest(1, number, BULK if number % 3 else "") for number in range(200)]
    for item in asked:
        above.send(item)
    assert not above.flush()
    assert 0 < above.backlog < 200
    heard: list[Any] = []
    while len(heard) < 200:
        heard += below.receive()
        above.flush()
    assert heard == asked
    assert above.flush()
    assert above.backlog == 0
