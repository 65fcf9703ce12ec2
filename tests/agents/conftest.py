"""What the tests with real agent programs share: a daemon, stub models, and a new home for each test."""

import shutil
import statistics
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.sessions import times_to_wake
from support.agents.workplace import RUN_BOUND_SEC, NewPlace, Workplace
from support.harness.daemon import Daemon, short_directory


@pytest.fixture(scope="session")
def daemon() -> Generator[Daemon, None, None]:
    with short_directory() as directory:
        running = Daemon(directory)
        try:
            running.start_bound_sec = RUN_BOUND_SEC
            running.start()
            yield running
        finally:
            running.kill_everything()


@pytest.fixture
def models() -> Generator[ModelServer, None, None]:
    with ModelServer() as server:
        yield server
    for request in server.requests[-1:]:  # a test that has failed shows it
        print(
            f"The model was asked {len(server.requests)} times, at last:\n{request.outline}", *server.errors, sep="\n"
        )


@pytest.fixture
def new_place(daemon: Daemon, models: ModelServer) -> Generator[NewPlace, None, None]:
    """Makes a home for a program, by its name, with Mailroom set up in it, by further options of `mailroom setup`."""
    directory = Path(tempfile.mkdtemp(prefix="mrt-agent-", dir="/var/tmp"))  # Codex refuses to work below /tmp
    number = 0

    def make(name: str, *setup: str, is_named: bool = True) -> Workplace:
        nonlocal number
        number += 1
        program = PROGRAMS[name]
        agent = f"{name}-{directory.name[-4:]}-{number}"
        place = Workplace(directory / f"{name}-{number}", name, models, daemon, agent)
        program.prepare(place)
        place.set_up(*program.setup, *setup, is_named=is_named)
        return place

    yield make
    shutil.rmtree(directory, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands on what one of several processes has measured."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["times_to_wake"] = dict(times_to_wake)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes it."""
    for name, times in getattr(node, "workeroutput", {}).get("times_to_wake", {}).items():
        times_to_wake[name] += times


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how long it took to wake an idle session: from the send to the request that its model got."""
    for name, times in sorted(times_to_wake.items()):
        terminalreporter.write_line(
            f"woken: {name} after {statistics.median(times):.1f} s (median of {len(times)}, at most {max(times):.1f} s)"
        )
