"""Every command gets exactly one outcome, whatever the store does with its transactions."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroomd.command_queue.commit import Commit, CommitObserver, Refusal
from mailroomd.command_queue.committer import Committer
from mailroomd.command_queue.disk_guard import DiskGuard
from mailroomd.command_queue.outcome_reporter import OutcomeReporter
from mailroomd.ipc.link import Link
from mailroomd.model.errors import Reason
from mailroomd.model.settings import Settings
from mailroomd.protocol.operations import (
    Acknowledge,
    Clear,
    Done,
    IdsAllocated,
    MarkOffered,
    Refused,
    Result,
    Send,
    SetAlias,
)
from mailroomd.protocol.packets import Command, ForgetAgent, LazyCommand, NoteSeen, Outcome
from mailroomd.protocol.reports import Report
from mailroomd.storage.database.file_guard import FileReplaced
from mailroomd.storage.database.message_store import (
    CommitResult,
    MessageStore,
    NewMail,
    SequencedEvent,
    SequencedWrite,
    Write,
)
from mailroomd.storage.database.reserve import Reserve
from mailroomd.storage.database.transactions import StoreFailed, StoreFull
from mailroomd.worker.context import CannotStart, WorkerContext
from support.faults.failing import error

OK, FULL, FAILED = "ok", "full", "failed"
KINDS = ("send", "read", "offer", "clear", "alias", "allocated")


def command_of(kind: str, command_id: int) -> Command:
    match kind:
        case "send":
            return Command(command_id, Send("abc", "s", verified=False, key=f"key-{command_id}"))
        case "read":
            return Command(command_id, Acknowledge("abc", [1]))
        case "offer":
            return Command(command_id, MarkOffered("abc", [1]))
        case "clear":
            return Command(command_id, Clear("abc", 1, 1))
        case "alias":
            return Command(command_id, SetAlias("s", "abc", 1))
        case _:
            return Command(command_id, IdsAllocated(command_id))


class ScriptedStore:
    """Commits, is full or fails as a script says; when the script ends, it commits."""

    def __init__(self, results: Sequence[str]) -> None:
        self.results = list(results)
        self.poison: set[int] = set()
        self.has_lazy_poison = False
        self.committed: list[int] = []
        self.transactions = Mock(last_sync_ns=0)

    def commit(self, writes: Sequence[Write], now_ms: int, *, lazily: bool = False) -> CommitResult:
        result = self.results.pop(0) if self.results else OK
        if result == FULL:
            raise StoreFull("full")
        if result == FAILED:
            raise StoreFailed(error(0))
        ids = [id_of(write) for write in writes if not isinstance(write, NoteSeen | ForgetAgent)]
        if self.poison.intersection(ids):
            raise KeyError("planted")
        if self.has_lazy_poison and len(ids) < len(writes):
            raise StoreFailed(sqlite3.IntegrityError("planted"))
        self.committed += ids
        return CommitResult([Outcome(command_id, Done()) for command_id in ids])

    def recognize(self, command: Command) -> Result | None:
        return None


class HeldReserve:
    """A reserve that is given up once."""

    is_held = True

    def release(self) -> None:
        self.is_held = False


def resolve(command: Command) -> SequencedWrite:
    match command.op:
        case Send() as send:
            return NewMail(command, send, None)
        case IdsAllocated():
            return SequencedEvent(command.id, command.last_id, None)
        case _:
            return command


def id_of(write: SequencedWrite) -> int:
    return write.command.id if isinstance(write, NewMail) else write.id


class Witness(CommitObserver):
    """Knows what the observers were told of each command."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.refused: list[int] = []

    def on_committed(self, commit: Commit) -> None:
        self.committed += [command.id for command in commit.commands]

    def on_refused(self, refusal: Refusal) -> None:
        self.refused += [command.id for command in refusal.commands]


class CommitterSetup:
    """A committer on a scripted store; everything else does nothing."""

    def __init__(self, results: Sequence[str]) -> None:
        self.store = ScriptedStore(results)
        self.sent: list[Outcome | Report] = []
        self.guard = DiskGuard(Settings, cast("Reserve", HeldReserve()), lambda: 0, self.sent.append)
        self.lazy: list[LazyCommand] = []
        self.witness = Witness()
        self.committer = Committer(
            Mock(WorkerContext),
            cast("MessageStore", self.store),
            resolve,
            self.lazy,
            self.guard,
            (self.witness, OutcomeReporter(Mock(Link, send=self.sent.append))),
        )

    def commit(self, kinds: Sequence[str], first_id: int = 1) -> dict[int, list[Result]]:
        """Commits one batch; returns the results of each command."""
        commands = [command_of(kind, command_id) for command_id, kind in enumerate(kinds, first_id)]
        self.sent.clear()
        self.committer.commit(commands)
        outcomes: dict[int, list[Result]] = {command.id: [] for command in commands}
        for outcome in self.sent:
            if isinstance(outcome, Outcome):
                outcomes[outcome.id].append(outcome.result)
        return outcomes


def test_a_send_is_refused_once_if_the_disk_fills_twice_in_its_batch() -> None:
    outcomes = CommitterSetup([FULL, FULL]).commit(["send", "read"])
    (refusal,) = outcomes[1]
    assert isinstance(refusal, Refused)
    assert refusal.reason == Reason.STORAGE_FULL
    assert outcomes[2] == [Done()], "the reserve has room for the acknowledgement"


def test_every_command_is_answered_when_the_disk_fills_again_and_again_in_its_batch() -> None:
    outcomes = CommitterSetup([FULL, FULL, FULL]).commit(["send", "read", "send", "allocated", "offer"])
    assert {command_id: len(found) for command_id, found in outcomes.items()} == dict.fromkeys(range(1, 6), 1)
    reasons = [outcome.reason for (outcome,) in outcomes.values() if isinstance(outcome, Refused)]
    assert reasons == [Reason.STORAGE_FULL] * 3, "also the acknowledgement, for which the reserve has no room"


def test_an_observer_hears_of_a_commit_after_it_and_of_a_refusal_instead_of_it() -> None:
    setup = CommitterSetup([FAILED])
    setup.commit(["send", "read"])
    assert (setup.witness.committed, setup.witness.refused) == ([], [1, 2])
    setup.commit(["send", "read"], 3)
    assert (setup.witness.committed, setup.witness.refused) == ([3, 4], [1, 2])


def test_a_batch_that_went_into_a_deleted_file_is_refused_and_the_worker_stops() -> None:
    setup = CommitterSetup([])
    setup.store.transactions.file_guard.check.side_effect = FileReplaced(Path("mailroom.db"))
    with pytest.raises(CannotStart, match="removed or replaced"):
        setup.commit(["send", "read", "offer"])
    results = [outcome.result for outcome in setup.sent if isinstance(outcome, Outcome)]
    assert [type(result) for result in results] == [Refused, Refused, Done]


batches = st.lists(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), min_size=1, max_size=4)


@given(batches, st.lists(st.sampled_from([OK, FULL, FULL, FAILED]), max_size=12))
def test_every_command_gets_exactly_one_outcome_whatever_the_store_does(
    batches: list[list[str]], results: list[str]
) -> None:
    setup, next_id = CommitterSetup(results), 1
    for kinds in batches:
        outcomes = setup.commit(kinds, next_id)
        next_id += len(kinds)
        assert {command_id: len(found) for command_id, found in outcomes.items()} == dict.fromkeys(outcomes, 1)
        for command_id, (outcome,) in outcomes.items():
            is_refused = isinstance(outcome, Refused)
            assert not (is_refused and command_id in setup.store.committed), "a refused command is not committed"
    assert len(set(setup.store.committed)) == len(setup.store.committed), "nothing is committed twice"
    assert setup.witness.committed == setup.store.committed
    assert sorted(setup.witness.committed + setup.witness.refused) == list(range(1, next_id))


@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=40),
    st.sets(st.integers(1, 40), max_size=5),
    st.booleans(),
)
def test_a_command_that_raises_is_refused_alone_and_the_others_commit_in_order(
    kinds: list[str], poison: set[int], has_lazy_poison: bool
) -> None:
    setup = CommitterSetup([])
    setup.store.poison, setup.store.has_lazy_poison = poison, has_lazy_poison
    setup.lazy.append(NoteSeen("abc", 1))
    outcomes = setup.commit(kinds)
    assert {command_id: len(found) for command_id, found in outcomes.items()} == dict.fromkeys(outcomes, 1)
    sound = [command_id for command_id in outcomes if command_id not in poison]
    assert setup.store.committed == sound
    for command_id in poison.intersection(outcomes):
        if kinds[command_id - 1] not in ("offer", "allocated"):
            (refusal,) = outcomes[command_id]
            assert isinstance(refusal, Refused)
            assert refusal.reason == Reason.INTERNAL
    assert bool(setup.lazy) == (has_lazy_poison or bool(poison.intersection(outcomes))), (
        "they are not lost with the command"
    )
