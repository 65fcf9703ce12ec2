"""The conformance suite finds faults: each planted one makes its scenario fail, and without one it passes."""

import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from conformance import scenarios as _scenarios
from conformance.clients import CLIENTS, Client
from conformance.daemons import Daemons
from conformance.runner import Column, Outcome, Runner
from conformance.scenario import LIBRARY, SCENARIOS, SDK, Scenario
from support.conformance import faulty_adapter, idle_adapter
from support.conformance.faulty_adapter import FAULTS
from support.conformance.faulty_daemon import DAEMON_FAULTS, FaultyDaemons
from support.conformance.idle_adapter import ANSWERS

assert _scenarios  # fills SCENARIOS

LIVE = "a live stream has each message once, in order"
FOUND_BY = {
    "drops an event": LIVE,
    "repeats an event": LIVE,
    "swaps two events": LIVE,
    "forgets its place": "a replay from the beginning, from a place, and of unread mail",
    "hides the reason": "what does not exist, and what is in conflict, has a code of its own",
    "hides the field": "each invalid request has the published reason and field",
    "hides the delay": "a full mailbox refuses with a delay, alone and in a batch",
    "sends no key": "the same key is one message; another request under it is refused",
    "sends no token": "a call over TCP, with a token",
    "sets no deadline": "a deadline ends a stream",
    "does not cancel": "a cancelled stream ends at once, on both sides",
    "normalizes text": "all of Unicode",
    "loses empty lists": "metadata of every type of JSON",
    "loses a result": "1,000 messages in bulk, one bad in the middle",
    "answers before it sends": "a message is durable on the disk, and a file, when its send is answered",
}


FOUND_IN_DAEMON_BY = {
    "answers before it stores": FOUND_BY["answers before it sends"],
    "forgets keys": FOUND_BY["sends no key"],
    "forgets places": FOUND_BY["forgets its place"],
    "ignores acknowledgements": "acknowledged mail is read, and its file is gone",
    "ends waits at once": "a wait returns when a message arrives, and empty when its time is over",
    "loses metadata": FOUND_BY["loses empty lists"],
    "repeats a message on a page": "pages, newest first, without gap or repeat",
    "swaps results of a batch": FOUND_BY["loses a result"],
    "drops an event": LIVE,
    "repeats an event": LIVE,
    "catches up too early": FOUND_BY["forgets its place"],
    "hides reasons": FOUND_BY["hides the field"],
    "hides delays": FOUND_BY["hides the delay"],
}


@pytest.fixture(scope="module")
def daemons() -> Generator[Daemons]:
    daemons = Daemons()
    yield daemons
    daemons.close()


def results_of(daemons: Daemons, fault: str, titles: set[str]) -> Column:
    """Runs scenarios with a client that has a fault; returns its column."""
    real = next(client for client in CLIENTS if client.name == "grpcio").build()
    command = [sys.executable, str(Path(faulty_adapter.__file__)), fault, *real]
    chosen = [one for one in SCENARIOS if one.title in titles]
    return run_with(daemons, Client("faulty", "Faulty", lambda: command), chosen)


def run_with(daemons: Daemons, client: Client, chosen: Sequence[Scenario]) -> Column:
    """Runs scenarios with a client; returns its column."""
    column = Column(client)
    runner = Runner(daemons, chosen)
    runner.run(column)
    runner.finish()
    assert column.results.keys() == {one.title for one in chosen}
    return column


def test_every_fault_has_a_scenario_that_finds_it() -> None:
    assert FOUND_BY.keys() | {"none"} == FAULTS.keys()
    assert FOUND_IN_DAEMON_BY.keys() | {"none"} == DAEMON_FAULTS.keys()
    assert {one.title for one in SCENARIOS} >= {*FOUND_BY.values(), *FOUND_IN_DAEMON_BY.values()}


def test_without_a_fault_the_same_scenarios_pass(daemons: Daemons) -> None:
    column = results_of(daemons, "none", set(FOUND_BY.values()))
    assert not column.failures


@pytest.mark.parametrize("fault", FOUND_BY)
def test_a_planted_fault_makes_its_scenario_fail(daemons: Daemons, fault: str) -> None:
    title = FOUND_BY[fault]
    result = results_of(daemons, fault, {title}).results[title]
    assert result.outcome is Outcome.FAILED, result
    assert ".py:" in result.detail, "it names the line of the scenario"


@pytest.fixture
def faulty(daemons: Daemons, request: pytest.FixtureRequest) -> Generator[Daemons]:
    faulty = FaultyDaemons(daemons, request.param)
    yield faulty
    faulty.close()


@pytest.mark.parametrize("faulty", ["none"], indirect=True)
def test_behind_a_stand_in_without_a_fault_the_same_scenarios_pass(faulty: Daemons) -> None:
    assert not results_of(faulty, "none", set(FOUND_IN_DAEMON_BY.values())).failures


@pytest.mark.parametrize(("faulty", "title"), FOUND_IN_DAEMON_BY.items(), indirect=["faulty"])
def test_a_fault_of_the_daemon_makes_its_scenario_fail(faulty: Daemons, title: str) -> None:
    result = results_of(faulty, "none", {title}).results[title]
    assert result.outcome is Outcome.FAILED, result
    assert ".py:" in result.detail, "it names the line of the scenario"


@pytest.mark.parametrize("kind", [LIBRARY, SDK])
@pytest.mark.parametrize("pretence", ANSWERS)
def test_no_scenario_passes_with_a_client_that_does_nothing(daemons: Daemons, pretence: str, kind: str) -> None:
    command = [sys.executable, str(Path(idle_adapter.__file__)), pretence, kind]
    chosen = [one for one in SCENARIOS if kind in one.kinds and not one.is_long]
    column = run_with(daemons, Client("idle", "Idle", lambda: command), chosen)
    assert [title for title, result in column.results.items() if result.outcome is not Outcome.FAILED] == []


def test_a_client_that_ends_fails_its_scenario_and_is_started_again(daemons: Daemons) -> None:
    program = (
        "import json, sys\nprint(json.dumps({'hello': {'kind': 'library', 'library': '-', 'version': '-',"
        " 'runtime': '-'}}), flush=True)\nsys.stdin.readline()\n"
    )
    column = Column(Client("dead", "Dead", lambda: [sys.executable, "-c", program]))
    titles = [LIVE, FOUND_BY["sends no key"]]
    Runner(daemons, [one for one in SCENARIOS if one.title in titles]).run(column)
    assert [result.outcome for result in column.results.values()] == [Outcome.FAILED] * 2
    assert all("exit code 0" in result.detail for result in column.results.values())
