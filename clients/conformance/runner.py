"""Runner — runs the scenarios with one client after another, and keeps what came of each.

A scenario that waits most of the time runs beside the others, in a process of its own. A client that breaks the rules
of its lines is started again for the next scenario. Invariant: every scenario of a client has exactly one result.
"""

__all__ = ["FIRST_CLIENT", "Column", "Outcome", "Result", "Runner"]

import os
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from conformance.adapter import Adapter, AdapterFailed, Json, Refused, Unsupported
from conformance.clients import Client, Missing
from conformance.daemons import Daemons
from conformance.scenario import Run, Scenario

FIRST_CLIENT = "the program of docs/clients.md, as it is printed there"
BUILT = "the adapter is built"  # a result only where it fails
FIRST_SEC = 60.0


class Outcome(StrEnum):
    """What came of a scenario."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"  # not for this kind of client, or its library has no such thing


@dataclass(frozen=True)
class Result:
    """What came of one scenario with one client; `detail` says why it failed or does not apply."""

    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""


@dataclass
class Column:
    """One client's results.

    Attributes:
        client: the row of the table of clients.
        missing: why it cannot be built here; "" if it can.
        hello: what it said of itself: library, version, runtime, kind; and the date of the run.
        results: by the titles of the scenarios.
        reasons: of the errors that it told.
    """

    client: Client
    missing: str = ""
    hello: Json = field(default_factory=dict[str, object])
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    reasons: set[str] = field(default_factory=set[str])

    @property
    def failures(self) -> dict[str, Result]:
        """The scenarios that failed."""
        return {title: one for title, one in self.results.items() if one.outcome is Outcome.FAILED}


class Runner:
    """Runs scenarios with clients.

    Args:
        daemons: shared by all clients.
        scenarios: what to run, in this order.
        report: called after each result with the client's column.
    """

    def __init__(
        self, daemons: Daemons, scenarios: Sequence[Scenario], report: Callable[[Column], None] = lambda _: None
    ) -> None:
        self._daemons = daemons
        self._scenarios = scenarios
        self._report = report
        self._threads: list[threading.Thread] = []

    def run(self, column: Column) -> None:
        """Builds a client and runs everything with it, except that what runs beside may go on: see `finish`."""
        try:
            command = column.client.build()
        except Missing as missing:
            column.missing = str(missing)
            self._report(column)
            return
        except RuntimeError as error:  # not a matter of this machine: its code does not compile, for example
            column.results[BUILT] = Result(Outcome.FAILED, 0.0, str(error))
            self._report(column)
            return
        self._with_adapters(column, command)
        if column.client.first:
            self._record(column, FIRST_CLIENT, lambda: self._first_client(column.client))

    def finish(self) -> None:
        """Waits for the scenarios that run beside the others."""
        for thread in self._threads:
            thread.join()

    def _with_adapters(self, column: Column, command: Sequence[str]) -> None:
        def start(environment: Mapping[str, str]) -> Adapter:
            log = self._daemons.directory / f"{column.client.name}.log"
            return Adapter(command, _environment(self._daemons) | dict(environment), log)

        def run_beside(scenario: Scenario) -> None:
            adapter = start({})
            try:
                self._record(column, scenario.title, lambda: scenario.run(self._run_of(adapter, start)))
            finally:
                adapter.close()

        def end(adapter: Adapter) -> None:
            adapter.close()
            column.reasons |= adapter.reasons

        adapter = start({})
        column.hello = {**adapter.hello["hello"], "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        kind = str(column.hello["kind"])
        for scenario in self._scenarios:
            if kind not in scenario.kinds:
                column.results[scenario.title] = Result(Outcome.NOT_APPLICABLE, 0.0, f"not for a {kind}")
            elif scenario.beside:
                thread = threading.Thread(target=run_beside, args=(scenario,))
                thread.start()
                self._threads.append(thread)
        for scenario in self._scenarios:
            if kind in scenario.kinds and not scenario.beside:
                run = self._run_of(adapter, start)
                if not self._record(column, scenario.title, lambda one=scenario, run=run: one.run(run)):
                    end(adapter)  # it may be in any state
                    adapter = start({})
        end(adapter)

    def _run_of(self, adapter: Adapter, start: Callable[[Mapping[str, str]], Adapter]) -> Run:
        return Run(adapter, self._daemons, start, adapter.hello["hello"]["kind"] == "sdk")

    def _record(self, column: Column, title: str, run: Callable[[], None]) -> bool:
        """Runs one scenario; returns whether it left the client in order."""
        started = time.monotonic()
        outcome, detail = Outcome.PASSED, ""
        try:
            run()
        except Unsupported as unsupported:
            outcome, detail = Outcome.NOT_APPLICABLE, str(unsupported)
        except (AssertionError, AdapterFailed, Refused) as error:
            outcome, detail = Outcome.FAILED, f"{_where(error)}: {str(error) or type(error).__name__}"
        except Exception as error:  # noqa: BLE001 - of any kind: a result that is not as the contract has it, for example
            outcome, detail = Outcome.FAILED, f"{_where(error)}: {type(error).__name__}: {error}"
        column.results[title] = Result(outcome, time.monotonic() - started, detail)
        self._report(column)
        return outcome is not Outcome.FAILED

    def _first_client(self, client: Client) -> None:
        guarded = self._daemons["main"]
        assert client.first is not None
        done = subprocess.run(
            client.first(guarded.socket),
            env=_environment(self._daemons),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FIRST_SEC,
            check=False,
        )
        assert done.returncode == 0, f"it ended with {done.returncode}: {done.stderr[-1500:]}"
        message_id = done.stdout.split()[0] if done.stdout.split() else ""
        inbox = guarded.daemon.inbox / "abc"
        assert (inbox / f"{message_id}.json").exists(), f"it printed {done.stdout[:200]!r}, which is no message"
        assert message_id not in _seen, "the same message again"
        _seen.add(message_id)


_seen: set[str] = set()


def _environment(daemons: Daemons) -> dict[str, str]:
    """Returns the environment of a client: nothing of this one that could change what it does."""
    home = daemons.directory / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "JAVA_HOME", "GOROOT") if name in os.environ}
    return kept | {"HOME": str(home), "PYTHONUNBUFFERED": "1"}


def _where(error: BaseException) -> str:
    """Returns the line of the scenario that failed."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if f"{os.sep}scenarios{os.sep}" in one.filename]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "-"  # noqa: PTH119
