"""Two links over real queues, with restarts at every step: conversations never mix, and every request is answered."""

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

pytestmark = pytest.mark.slow

BULK = "x" * 20_000  # three to a packet, so that a queue is full after a dozen


class Question(msgspec.Struct, frozen=True, array_like=True, tag=True):
    asker: int
    number: int
    bulk: str = ""


class Reply(msgspec.Struct, frozen=True, array_like=True, tag=True):
    asker: int
    answerer: int
    number: int
    bulk: str = ""


def queue(name: str) -> "PacketQueue[Any]":
    return PacketQueue(name, (Hello, Reset, Question, Reply))


@dataclass
class Asker:
    """A side that repeats what is unanswered, as gateway and mailbox do."""

    epoch: int
    link: Link[Reply, Question] = field(init=False)
    unanswered: dict[int, Question] = field(default_factory=dict[int, Question])
    peer: int = 0


@dataclass
class Answerer:
    """A side that answers at once and remembers nothing."""

    epoch: int
    link: Link[Question, Reply] = field(init=False)
    peer: int = 0
    received: list[int] = field(default_factory=list[int])  # in this conversation


class LinkMachine(RuleBasedStateMachine):
    """The only test class: hypothesis' state machines are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.asks, self.answers = queue("asks"), queue("answers")
        self.last_number = 0
        self.answered: set[int] = set()  # durable, like the database: survives every answerer
        self.asker, self.answerer = Asker(0), Answerer(0)
        self.restart_asker()
        self.restart_answerer()

    def teardown(self) -> None:
        self.talk_until_quiet()
        assert not self.asker.unanswered
        assert self.asker.link.is_established
        assert self.answerer.link.is_established
        self.asks.close()
        self.answers.close()

    # -- deaths ---------------------------------------------------------------------------------------------------

    @rule()
    def restart_asker(self) -> None:
        asker = self.asker = Asker(self.asker.epoch + 1)
        asker.link = Link(asker.epoch, self.answers, self.asks, asker.unanswered.values)
        asker.link.send_hello()

    @rule()
    def restart_answerer(self) -> None:
        answerer = self.answerer = Answerer(self.answerer.epoch + 1)
        answerer.link = Link(answerer.epoch, self.asks, self.answers, list)
        answerer.link.send_hello()

    # -- the steps of a turn --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4), bulk=st.sampled_from(["", BULK]))
    def ask(self, count: int, bulk: str) -> None:
        if not self.asker.link.is_established:
            return  # the mailbox allocates no id before it is answered; a gateway accepts no call
        for _ in range(count):
            self.last_number += 1
            item = Question(self.asker.epoch, self.last_number, bulk)
            self.asker.unanswered[item.number] = item
            self.asker.link.send(item)

    @rule()
    def flush_asker(self) -> None:
        assert self.asker.link.flush() == (self.asker.link.backlog == 0)

    @rule()
    def flush_answerer(self) -> None:
        assert self.answerer.link.flush() == (self.answerer.link.backlog == 0)

    @rule(dies_after=st.none() | st.integers(0, 5))
    def answerer_receives(self, dies_after: int | None) -> None:
        answerer = self.answerer
        for index, item in enumerate(answerer.link.receive()):
            if index == dies_after:
                self.restart_answerer()
                return
            if isinstance(item, Hello):
                assert item.epoch > answerer.peer, "each start of the peer is received once"
                answerer.peer = item.epoch
                answerer.received.clear()
                answerer.link.answer_hello(item)
                continue
            assert item.asker >= answerer.peer, "an item of an earlier conversation"
            assert not answerer.received or item.number > answerer.received[-1], "out of order, or twice"
            answerer.received.append(item.number)
            self.answered.add(item.number)
            answerer.link.send(Reply(item.asker, answerer.epoch, item.number, item.bulk))

    @rule(dies_after=st.none() | st.integers(0, 5))
    def asker_receives(self, dies_after: int | None) -> None:
        asker = self.asker
        for index, item in enumerate(asker.link.receive()):
            if index == dies_after:
                self.restart_asker()
                return
            if isinstance(item, Hello):
                assert item.epoch > asker.peer, "each start of the peer is received once"
                asker.peer = item.epoch
                asker.link.answer_hello(item)
                continue
            assert item.asker == asker.epoch, "an answer to a predecessor"
            assert item.answerer >= asker.peer, "an answer of a predecessor, after its successor's Hello"
            assert item.number in self.answered
            asker.unanswered.pop(item.number, None)

    @rule()
    def talk_until_quiet(self) -> None:
        for _ in range(500):
            self.flush_asker()
            self.answerer_receives(None)
            self.flush_answerer()
            self.asker_receives(None)
            quiet = not (self.asker.link.backlog or self.answerer.link.backlog or self.asker.unanswered)
            if quiet and self.asker.link.is_established and self.answerer.link.is_established:
                return
        raise AssertionError("the two sides never agree")


test_conversations_never_mix_and_every_question_is_answered = LinkMachine.TestCase
LinkMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def queues() -> Iterator[tuple["PacketQueue[Any]", "PacketQueue[Any]"]]:
    pair = queue("down"), queue("up")
    yield pair
    for made in pair:
        made.close()


Pair = tuple["PacketQueue[Any]", "PacketQueue[Any]"]


def links(
    queues: Pair, upper: int, lower: int, unanswered: list[Question]
) -> tuple[Link[Reply, Question], Link[Question, Reply]]:
    down, up = queues
    above: Link[Reply, Question] = Link(upper, up, down, lambda: unanswered)
    below: Link[Question, Reply] = Link(lower, down, up, list)
    return above, below


def receive_and_answer_hellos(link: Link[Any, Any]) -> list[Any]:
    received = link.receive()
    for item in received:
        if isinstance(item, Hello):
            link.answer_hello(item)
    return [item for item in received if not isinstance(item, Hello)]


def test_nothing_is_received_before_the_peer_has_answered(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    queues[1].send_items([Reply(0, 0, 7)])  # left over from an earlier conversation
    above.send_hello()
    assert above.receive() == []
    assert not above.is_established
    assert below.receive() == [Hello(1)]
    below.answer_hello(Hello(1))
    below.send(Reply(1, 1, 8))
    below.flush()
    assert receive_and_answer_hellos(above) == [Reply(1, 1, 8)]


def test_unanswered_items_are_repeated_once_and_in_order_after_both_restart(queues: Pair) -> None:
    unanswered = [Question(2, number) for number in range(1, 4)]
    above, below = links(queues, 2, 2, unanswered)
    above.send_hello()
    below.send_hello()
    received = [item for _ in range(4) for item in receive_and_answer_hellos(below) + receive_and_answer_hellos(above)]
    assert received == unanswered
    assert above.is_established
    assert below.is_established


def test_a_hello_received_by_a_peer_that_died_is_sent_again(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    above.send_hello()
    below.receive()  # and dies before it answers
    _, below = links(queues, 1, 2, [])
    below.send_hello()
    for _ in range(3):
        receive_and_answer_hellos(above)
        receive_and_answer_hellos(below)
    assert above.is_established
    assert below.is_established


def test_an_answer_to_a_predecessors_hello_is_ignored(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    above.send_hello()
    receive_and_answer_hellos(below)
    below.send(Reply(1, 1, 1))
    below.flush()
    above, _ = links(queues, 2, 1, [])  # its predecessor died before it read the Reset
    above.send_hello()
    assert receive_and_answer_hellos(above) == []
    assert not above.is_established
    receive_and_answer_hellos(below)
    assert receive_and_answer_hellos(above) == []
    assert above.is_established


def test_a_backlog_keeps_its_order_through_a_full_queue(queues: Pair) -> None:
    above, below = links(queues, 1, 1, [])
    for link in (above, below):
        link.send_hello()
    for link in (above, below, above):
        receive_and_answer_hellos(link)
    asked = [Question(1, number, BULK if number % 3 else "") for number in range(200)]
    for item in asked:
        above.send(item)
    assert not above.flush()
    assert 0 < above.backlog < 200
    received: list[Any] = []
    while len(received) < 200:
        received += below.receive()
        above.flush()
    assert received == asked
    assert above.flush()
    assert above.backlog == 0
