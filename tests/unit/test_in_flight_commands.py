"""Whatever the command-queue reports in whatever order: one answer per call, and nothing is visible too early."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mailroomd.command_queue.direct_answers import FEW_COMMANDS
from mailroomd.model.message import Draft, pack_draft
from mailroomd.protocol.operations import (
    Acknowledge,
    Acknowledged,
    Clear,
    Cleared,
    Done,
    IdsAllocated,
    MarkOffered,
    Refused,
    Result,
    Send,
    Sent,
    SetAlias,
)
from mailroomd.protocol.packets import Answer, Command, Outcome, Request
from mailroomd.protocol.reports import AllocateIds, MailboxCounted, Report, TeamInboxSettled
from support.harness.mailbox_worker import MailboxWorker

pytestmark = pytest.mark.slow

STORED, FILED = 1, 2
AGENTS = st.sampled_from(["ann", "bob", "cat"])
RESULTS: dict[type, tuple[type[Result], ...]] = {
    Send: (Sent, Refused),
    Acknowledge: (Acknowledged, Refused),
    MarkOffered: (Done, Refused),
    Clear: (Cleared, Refused),
    SetAlias: (Done, Refused),
}
PICKS = st.sets(st.integers(0, 20), max_size=10)
FATES = st.sampled_from(["done", "done", "done", "stored", "team", "repeated", "refused"])


class InFlightMachine(RuleBasedStateMachine):
    """The only test class: hypothesis' state machines are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.worker = MailboxWorker(max_unread=30)
        self.last_call = self.last_request = 0
        self.asked: dict[int, Request] = {}  # by call
        self.answers: dict[int, Answer] = {}  # the first to each call
        self.may_repeat: set[int] = set()  # calls that were answered just before the command-queue died
        self.unresolved: dict[int, Command] = {}
        self.committed: set[int] = set()  # before the command-queue died
        self.awaiting_team: set[int] = set()
        self.reported: list[Outcome | Report] = []
        self.totals = Counter[str]()
        self.durable: list[int] = []
        self.highest_mark = 0

    def teardown(self) -> None:
        try:
            self.resolve(list(self.unresolved), "done")
            self.settle_teams(restarts=True)
            assert self.answers.keys() == self.asked.keys(), "each call has an answer"
            assert len(self.worker.state.in_flight) == len(self.worker.state.pending_aliases) == 0
            assert self.worker.reader.durable_id == self.worker.state.in_flight.last_id
            assert self.worker.reader.answered_id <= self.worker.reader.durable_id
            assert self.worker.reader.visible_ids() == sorted(self.durable)
        finally:
            self.worker.close()

    # -- requests -------------------------------------------------------------------------------------------------

    @rule(sender=AGENTS, recipient=AGENTS, client_key=st.booleans(), count=st.integers(1, 5))
    def send(self, sender: str, recipient: str, client_key: bool, count: int) -> None:
        for _ in range(count):
            send = Send(recipient, sender, verified=False, key="key", is_client_key=client_key)
            self.ask(Request(self.next_call(), send, pack_draft(Draft(recipient, sender, "content"))))

    @rule(agent=AGENTS, kind=st.sampled_from(["read", "offered", "clear", "alias"]), ids=st.lists(st.integers(1, 9)))
    def ask_something_else(self, agent: str, kind: str, ids: list[int]) -> None:
        match kind:
            case "read":
                self.ask(Request(self.next_call(), Acknowledge(agent, ids)))
            case "offered":
                self.ask(Request(self.next_call(), MarkOffered(agent, ids)))
            case "clear":
                self.ask(Request(self.next_call(), Clear(agent, 1 << 60, 500)))
            case _:
                self.ask(Request(self.next_call(), SetAlias("session", agent, 1 << 50)))

    @rule(count=st.integers(1, 5))
    def a_local_event_needs_ids(self, count: int) -> None:
        self.last_request += 1
        self.report([AllocateIds(self.last_request, count)])

    @rule()
    def submit_delivery_marks(self) -> None:
        """Marks join another command, so that the test does not depend on the time."""
        request = Request(self.next_call(), Clear("ann", 1 << 60, 500))
        self.asked[request.call] = request
        self.worker.handle(request)
        self.worker.request_handler.submit_delivery_marks()
        self.collect()

    # -- outcomes -------------------------------------------------------------------------------------------------

    @rule(picks=PICKS, backwards=st.booleans(), fate=FATES, has_room=st.booleans())
    def resolve_some(self, picks: set[int], backwards: bool, fate: str, has_room: bool) -> None:
        ids = sorted(self.picked(picks), reverse=backwards)
        self.resolve(ids, fate, is_answering=has_room)

    @rule(picks=PICKS)
    def die_between_answers_and_outcomes(self, picks: set[int]) -> None:
        """The command-queue commits and answers, and is killed; its successor gets the commands again."""
        commands = [self.unresolved[command_id] for command_id in self.picked(picks)]
        sends = [one for one in commands if isinstance(one.op, Send) and one.refusal is None][:FEW_COMMANDS]
        outcomes = [Outcome(command.id, Sent(command.id, 1, FILED, command.mailbox)) for command in sends]
        self.worker.answer(sends, outcomes)
        assert self.worker.reader.answered_id >= max((command.id for command in sends), default=0)
        self.committed.update(command.id for command in sends)
        self.may_repeat.update(command.call for command in sends)
        self.collect()

    @precondition(lambda self: self.reported)
    @rule(pick=st.integers(0, 50))
    def report_again(self, pick: int) -> None:
        """A command-queue that restarted processes a command again."""
        self.report([self.reported[pick % len(self.reported)]])

    @rule(restarts=st.booleans())
    def settle_teams(self, restarts: bool) -> None:
        if restarts:
            self.worker.outcome_handler.answer_without_team()
        else:
            self.report([TeamInboxSettled(message_id, "") for message_id in self.awaiting_team])
        self.awaiting_team.clear()
        self.collect()

    def picked(self, picks: set[int]) -> list[int]:
        return [command_id for index, command_id in enumerate(sorted(self.unresolved)) if index in picks]

    def resolve(self, ids: list[int], fate: str, *, is_answering: bool = True) -> None:
        outcomes: list[Outcome | Report] = []
        commands = [self.unresolved.pop(command_id) for command_id in ids]
        for command in commands:
            outcomes.extend(self.outcomes_of(command, "done" if command.id in self.committed else fate))
        if is_answering:
            outcomes = self.worker.answer(commands, outcomes)
        self.reported.extend(outcomes)
        self.report(outcomes)

    def outcomes_of(self, command: Command, fate: str) -> list[Outcome | Report]:
        match command.op:
            case Send():
                return self.outcomes_of_send(command, fate)
            case _ if fate == "refused":
                return [Outcome(command.id, Refused("STORAGE_FULL", "the disk is full"))]
            case Acknowledge(_, message_ids):
                return [Outcome(command.id, Acknowledged([], message_ids))]
            case Clear(_, through_id):
                return [Outcome(command.id, Cleared([], through_id, has_more=False))]
            case MarkOffered() | IdsAllocated():
                return [Outcome(command.id, Done(), ["ann"])]
            case _:
                return [Outcome(command.id, Done())]

    def outcomes_of_send(self, command: Command, fate: str) -> list[Outcome | Report]:
        if command.refusal is not None:
            return [Outcome(command.id, command.refusal)]
        if fate == "refused":
            return [Outcome(command.id, Refused("STORAGE_FULL", "the disk is full"))]
        if fate == "repeated":
            return [Outcome(command.id, Sent(1, 1, FILED, command.mailbox, is_repeated=True, first_verified=False))]
        self.durable.append(command.id)
        recipient = self.worker.reader.record_at(command.position).mailbox
        assert recipient == command.mailbox
        self.totals[recipient] += 1
        if fate == "team":
            self.awaiting_team.add(command.id)
        total, state = self.totals[recipient], STORED if fate == "stored" else FILED
        sent = Sent(command.id, 1, state, recipient, awaits_team=fate == "team")
        return [MailboxCounted(recipient, total, total, 1), Outcome(command.id, sent)]

    # -- bookkeeping ----------------------------------------------------------------------------------------------

    def next_call(self) -> int:
        self.last_call += 1
        return self.last_call

    def ask(self, request: Request) -> None:
        self.asked[request.call] = request
        self.worker.handle(request)
        self.collect()

    def report(self, outcomes: list[Outcome | Report]) -> None:
        self.worker.report(*outcomes)
        self.collect()

    def collect(self) -> None:
        for command in self.worker.commands():
            self.unresolved[command.id] = command
        for event in self.worker.answers():
            if isinstance(event, Answer):
                self.record_answer(event)

    def record_answer(self, answer: Answer) -> None:
        assert answer.call in self.asked, "an answer that no call waits for"
        assert isinstance(answer.result, RESULTS[type(self.asked[answer.call].op)]), "the result of another operation"
        first = self.answers.setdefault(answer.call, answer)
        if first is not answer:
            assert answer.call in self.may_repeat, "two answers to one call"
            assert answer.result == first.result, "two different answers to one call"

    # -- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def the_high_water_mark_never_passes_an_unresolved_command(self) -> None:
        mark = self.worker.state.in_flight.high_water_mark
        assert mark < min(self.unresolved, default=mark + 1)
        assert self.highest_mark <= self.worker.reader.durable_id <= mark
        self.highest_mark = self.worker.reader.durable_id

    @invariant()
    def exactly_the_durable_messages_up_to_the_mark_are_visible(self) -> None:
        mark = self.worker.reader.durable_id
        assert self.worker.reader.visible_ids() == sorted(
            message_id for message_id in self.durable if message_id <= mark
        )

    @invariant()
    def commands_are_repeated_in_the_order_of_their_ids(self) -> None:
        repeated = self.worker.state.in_flight.unresolved_commands()
        assert repeated == [self.unresolved[command_id] for command_id in sorted(self.unresolved)]

    @invariant()
    def every_message_whose_sender_was_told_is_durable(self) -> None:
        durable = {*self.durable, *self.committed}
        for call, answer in self.answers.items():
            if isinstance(answer.result, Sent) and not answer.result.is_repeated:
                assert answer.result.id in durable, f"call {call} was answered too early"


test_each_call_has_one_answer_and_no_message_is_visible_before_its_outcome = InFlightMachine.TestCase
InFlightMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
