"""Whatever the command-queue reports in whatever order: one answer per call, and nothing is visible too early."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mailroomd.model.message import Draft
from mailroomd.protocol.commands import (
    AliasWritten,
    AllocateIds,
    Command,
    CommandRefused,
    IdsAllocated,
    LazyCommand,
    MailboxCleared,
    MailboxCounted,
    MessageRepeated,
    MessageWritten,
    Outcome,
    ReadWritten,
    SequencedCommand,
    StepsWritten,
    TeamInboxSettled,
    WriteAlias,
    WriteClear,
    WriteMessage,
    WriteOffered,
    WriteRead,
)
from mailroomd.protocol.packets import (
    Answer,
    ClearMailbox,
    MarkOffered,
    MarkRead,
    Request,
    SetAlias,
    StoreMessage,
)
from support.harness.mailbox_worker import MailboxWorker

pytestmark = pytest.mark.slow

STORED, FILED = 1, 2
AGENTS = st.sampled_from(["ann", "bob", "cat"])
FATES = st.sampled_from(["done", "done", "done", "stored", "team", "repeated", "refused"])


class InFlightMachine(RuleBasedStateMachine):
    """The only test class: hypothesis' state machines are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.worker = MailboxWorker(max_unread=30)
        self.last_call = self.last_request = 0
        self.asked: dict[int, Request] = {}  # by call
        self.answers = Counter[int]()
        self.unresolved: dict[int, SequencedCommand] = {}
        self.awaiting_team: set[int] = set()
        self.reported: list[Outcome] = []
        self.totals = Counter[str]()
        self.durable: list[int] = []
        self.highest_mark = 0

    def teardown(self) -> None:
        try:
            self.resolve(list(self.unresolved), "done")
            self.settle_teams(restarts=True)
            assert self.answers == Counter(self.asked.keys()), "each call has exactly one answer"
            assert len(self.worker.state.in_flight) == len(self.worker.state.pending_aliases) == 0
            assert self.worker.reader.durable_id == self.worker.state.in_flight.last_id
            assert self.worker.reader.visible_ids() == sorted(self.durable)
        finally:
            self.worker.close()

    # -- requests -------------------------------------------------------------------------------------------------

    @rule(sender=AGENTS, recipient=AGENTS, client_key=st.booleans(), count=st.integers(1, 5))
    def send(self, sender: str, recipient: str, client_key: bool, count: int) -> None:
        for _ in range(count):
            draft = Draft(recipient, sender, "content")
            self.ask(StoreMessage(self.next_call(), "key", client_key, resubmitted=False, draft=draft))

    @rule(agent=AGENTS, kind=st.sampled_from(["read", "offered", "clear", "alias"]), ids=st.lists(st.integers(1, 9)))
    def ask_something_else(self, agent: str, kind: str, ids: list[int]) -> None:
        match kind:
            case "read":
                self.ask(MarkRead(self.next_call(), agent, ids))
            case "offered":
                self.ask(MarkOffered(self.next_call(), agent, ids))
            case "clear":
                self.ask(ClearMailbox(self.next_call(), agent, 1 << 60, 500))
            case _:
                self.ask(SetAlias(self.next_call(), "session", agent, 1 << 50))

    @rule(count=st.integers(1, 5))
    def a_local_event_needs_ids(self, count: int) -> None:
        self.last_request += 1
        self.report([AllocateIds(self.last_request, count)])

    @rule()
    def submit_delivery_marks(self) -> None:
        """Marks join another command, so that the test does not depend on the time."""
        request = ClearMailbox(self.next_call(), "ann", 1 << 60, 500)
        self.asked[request.call] = request
        self.worker.handle(request)
        self.worker.request_handler.submit_delivery_marks()
        self.collect()

    # -- outcomes -------------------------------------------------------------------------------------------------

    @rule(picks=st.sets(st.integers(0, 20), max_size=10), backwards=st.booleans(), fate=FATES)
    def resolve_some(self, picks: set[int], backwards: bool, fate: str) -> None:
        ids = [command_id for index, command_id in enumerate(sorted(self.unresolved)) if index in picks]
        self.resolve(sorted(ids, reverse=backwards), fate)

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

    def resolve(self, ids: list[int], fate: str) -> None:
        outcomes: list[Outcome] = []
        for command_id in ids:
            command = self.unresolved.pop(command_id)
            outcomes.extend(self.outcomes_of(command, fate))
        self.reported.extend(outcomes)
        self.report(outcomes)

    def outcomes_of(self, command: SequencedCommand, fate: str) -> list[Outcome]:
        match command:
            case WriteMessage():
                return self.outcomes_of_send(command, fate)
            case _ if fate == "refused":
                return [CommandRefused(command.id, "STORAGE_FULL", "the disk is full", 0)]
            case WriteOffered() | IdsAllocated():
                return [StepsWritten(command.id, ["ann"])]
            case WriteRead():
                return [ReadWritten(command.id, command.agent, [], command.message_ids, [])]
            case WriteClear():
                return [MailboxCleared(command.id, [], more=False)]
            case WriteAlias():
                return [AliasWritten(command.id, command.session, command.agent, command.expires_ms)]

    def outcomes_of_send(self, command: WriteMessage, fate: str) -> list[Outcome]:
        if command.refusal is not None:
            return [command.refusal]
        if fate == "refused":
            return [CommandRefused(command.id, "STORAGE_FULL", "the disk is full", 0)]
        if fate == "repeated":
            return [MessageRepeated(command.id, 1, 1, FILED, "")]
        self.durable.append(command.id)
        recipient = self.worker.reader.record_at(command.position).mailbox
        self.totals[recipient] += 1
        if fate == "team":
            self.awaiting_team.add(command.id)
        total = self.totals[recipient]
        return [
            MailboxCounted(recipient, total, total, 1),
            MessageWritten(command.id, STORED if fate == "stored" else FILED, is_for_team=fate == "team"),
        ]

    # -- bookkeeping ----------------------------------------------------------------------------------------------

    def next_call(self) -> int:
        self.last_call += 1
        return self.last_call

    def ask(self, request: StoreMessage | MarkRead | MarkOffered | ClearMailbox | SetAlias) -> None:
        self.asked[request.call] = request
        self.worker.handle(request)
        self.collect()

    def report(self, outcomes: list[Outcome]) -> None:
        self.worker.report(*outcomes)
        self.collect()

    def collect(self) -> None:
        for command in self.worker.commands():
            if not isinstance(command, LazyCommand):
                self.unresolved[command.id] = command
        for event in self.worker.answers():
            if isinstance(event, Answer):
                self.record_answer(event)

    def record_answer(self, answer: Answer) -> None:
        assert answer.call in self.asked, "an answer that no call waits for"
        self.answers[answer.call] += 1

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
        repeated: list[Command] = self.worker.state.in_flight.unresolved_commands()
        assert repeated == [self.unresolved[command_id] for command_id in sorted(self.unresolved)]

    @invariant()
    def no_call_is_answered_twice(self) -> None:
        assert max(self.answers.values(), default=0) <= 1


test_each_call_has_one_answer_and_no_message_is_visible_before_its_outcome = InFlightMachine.TestCase
InFlightMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
