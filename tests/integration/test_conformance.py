"""The conformance suite finds faults: each planted one makes its scenario fail, and without one it passes."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from conformance import scenarios as _scenarios
from conformance.clients import CLIENTS, Client
from conformance.daemons import Daemons
from conformance.runner import Column, Outcome, Runner
from conformance.scenario import LIBRARY, SCENARIOS, SDK
from support.conformance import faulty_adapter
from support.conformance.faulty_adapter import FAULTS
from support.conformance.faulty_daemon import DAEMON_FAULTS, FaultyDaemons

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
LIARS = ("pretends success", "pretends failure")


@pytest.fixture(scope="module")
def daemons() -> Generator[Daemons]:
    daemons = Daemons()
    yield daemons
    daemons.close()


def results_of(daemons: Daemons, fault: str, titles: set[str], client: str = "grpcio") -> Column:
    """Runs scenarios with a client that has a fault; returns its column."""
    real = next(one for one in CLIENTS if one.name == client).build()
    command = [sys.executable, str(Path(faulty_adapter.__file__)), fault, *real]
    column = Column(Client("faulty", "Faulty", lambda: command))
    runner = Runner(daemons, [one for one in SCENARIOS if one.title in titles])
    runner.run(column)
    runner.finish()
    assert column.results.keys() == titles
    return column


def test_every_fault_has_a_scenario_that_finds_it() -> None:
    assert FOUND_BY.keys() | {"none", *LIARS} == FAULTS.keys()
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


@pytest.mark.parametrize("liar", LIARS)
@pytest.mark.parametrize(("client", "kind"), [("grpcio", LIBRARY), ("python-sdk", SDK)])
def test_no_scenario_passes_with_a_client_that_does_nothing(
    daemons: Daemons, liar: str, client: str, kind: str
) -> None:
    titles = {one.title for one in SCENARIOS if kind in one.kinds and not one.is_long}
    if kind == SDK:  # the rest has been tried with a library
        titles -= {one.title for one in SCENARIOS if LIBRARY in one.kinds}
    outcomes = {title: result.outcome for title, result in results_of(daemons, liar, titles, client).results.items()}
    assert {title for title, outcome in outcomes.items() if outcome is not Outcome.FAILED} == set()


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
