"""DirectAnswers over real queues: whom the command-queue answers itself, and what it leaves to the mailbox."""

from collections.abc import Iterator
from typing import Any

import pytest
from mailroomd.command_queue.commit import Commit
from mailroomd.command_queue.direct_answers import FEW_COMMANDS, DirectAnswers
from mailroomd.ipc.queue import PacketQueue
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.protocol.operations import Done, Refused, Result, Send, Sent
from mailroomd.protocol.packets import ANSWERS, Answer, Command, Outcome
from mailroomd.storage.database.message_store import CommitResult
from mailroomd.table.answered_mark import AnsweredMark
from mailroomd.table.layout import TableLayout
from mailroomd.table.reader import TableReader

FILED = 2


class Answering:
    """Direct answers for two gateways."""

    def __init__(self) -> None:
        layout = TableLayout.for_ring(1 << 20, 64)
        self.memory = SharedMemory.create("table", layout.size_bytes)
        self.reader = TableReader(self.memory.buffer, layout)
        self.queues: list[PacketQueue[Any]] = [PacketQueue(f"answers-{index}", ANSWERS) for index in range(2)]
        self.direct = DirectAnswers(self.queues, AnsweredMark(self.memory.buffer))

    def commit(self, *pairs: tuple[Command, Result]) -> list[bool]:
        """Returns, for each command, whether it was answered."""
        result = CommitResult([Outcome(command.id, outcome) for command, outcome in pairs])
        self.direct.on_committed(Commit([command for command, _ in pairs], result, 0, 0, 0, 0))
        return [outcome.is_answered for outcome in result.outcomes if isinstance(outcome, Outcome)]

    def answers(self, gateway: int) -> list[Answer]:
        return self.queues[gateway].receive_items()

    def close(self) -> None:
        for queue in self.queues:
            queue.close()
        self.memory.close()


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    yield made
    made.close()


def command(message_id: int, gateway: int = 0, call: int | None = None) -> Command:
    send = Send("bob", "amy", verified=False, key="key")
    number = message_id if call is None else call
    return Command(message_id, send, 2, "bob", gateway=gateway, call=number, subscribers=3, recipient_seen_ms=4)


def sent(message_id: int, **changes: Any) -> Sent:
    return Sent(message_id, 1, FILED, "bob", **changes)


def test_new_messages_are_answered_to_the_gateways_that_wait(answering: Answering) -> None:
    assert answering.commit((command(10), sent(10)), (command(20, 1), sent(20)), (command(30), sent(30))) == [True] * 3
    assert [(one.call, one.result, one.subscribers, one.recipient_seen_ms) for one in answering.answers(0)] == [
        (10, sent(10), 3, 4),
        (30, sent(30), 3, 4),
    ]
    assert [one.call for one in answering.answers(1)] == [20]
    assert answering.reader.answered_id == 30


@pytest.mark.parametrize(
    ("one", "result"),
    [
        (command(10), sent(10, is_repeated=True)),
        (command(10), sent(10, awaits_team=True)),
        (command(10), Refused("STORAGE_FULL", "the disk is full")),
        (command(10, call=0), sent(10)),
        (command(10, gateway=2), sent(10)),
        (command(10), Done()),
    ],
    ids=["repeated", "waits for a team inbox", "refused", "nobody waits", "the relay waits", "no message"],
)
def test_everything_else_is_left_to_the_mailbox(answering: Answering, one: Command, result: Result) -> None:
    assert answering.commit((one, result)) == [False]
    assert answering.answers(0) == answering.answers(1) == []
    assert answering.reader.answered_id == 0


def test_answers_for_which_a_queue_has_no_room_are_left_to_the_mailbox(answering: Answering) -> None:
    answered: list[bool] = []
    while all(answered):
        assert len(answered) < 100_000, "the queue takes everything"
        numbers = range(len(answered) + 1, len(answered) + 1 + FEW_COMMANDS)
        answered += answering.commit(*((command(number), sent(number)) for number in numbers))
    received: list[Answer] = []
    while answers := answering.answers(0):
        received += answers
    assert [one.call for one in received] == list(range(1, sum(answered) + 1)), "the first ones"
    assert answering.commit((command(200_000), sent(200_000))) == [True], "there is room again"


def test_the_answers_of_a_large_commit_are_left_to_the_mailbox(answering: Answering) -> None:
    numbers = range(1, FEW_COMMANDS + 2)
    assert answering.commit(*((command(number), sent(number)) for number in numbers)) == [False] * len(numbers)
    assert answering.answers(0) == []
