"""Kills and pauses of every process, at random moments, under a running load: nothing that was promised is broken.

MAILROOM_TEST_ROUNDS says how often each fault is injected (2), MAILROOM_TEST_SEED repeats the moments of a run.
"""

import random
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import pytest
from support.faults.load import Load
from support.faults.under_load import daemon_under_load
from support.harness.daemon import STUCK_AFTER_SEC, WORKERS, Daemon, short_directory
from support.harness.waiting import chance, pause, rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

LATEST_SEC = 0.4  # after which the fault comes: some commits, and a reader's round


@contextmanager
def killing(random_numbers: random.Random, kind: str) -> Generator[tuple[Daemon, Load]]:
    """Gives a daemon and a load on it, for `rounds()` faults of a kind; afterwards everything is checked."""
    with short_directory() as directory:
        daemon = Daemon(directory)
        with daemon_under_load(daemon, kind, random_numbers.randrange(1 << 32)) as trial:
            trial.load.wait_for_progress()
            yield daemon, trial.load
            trial.faults = rounds()


def wait_for_a_random_moment(random_numbers: random.Random) -> None:
    pause(random_numbers.uniform(0, LATEST_SEC))


@pytest.mark.parametrize(
    "names",
    [["mailbox"], ["command-queue"], ["gateway"], ["mailbox", "command-queue"], list(WORKERS)],
    ids=lambda names: "+".join(names),
)
def test_killing_workers_breaks_no_promise(names: Sequence[str]) -> None:
    random_numbers = chance(f"kill {names}")
    with killing(random_numbers, "kills") as (daemon, load):
        after = daemon.workers()
        for _ in range(rounds()):
            wait_for_a_random_moment(random_numbers)
            pids = daemon.signal_workers(random_numbers.sample(names, len(names)), signal.SIGKILL)
            after = daemon.wait_replaced(pids)
            assert all(after[name].last_exit == "killed by SIGKILL" for name in names)
            load.wait_for_progress()
        assert {one.restarts for one in after.values()} <= {0, rounds()}, "nobody else was restarted"


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_that_stands_still_is_replaced_and_breaks_no_promise(name: str) -> None:
    random_numbers = chance(f"stop {name}")
    with killing(random_numbers, "pauses (SIGSTOP)") as (daemon, load):
        after = daemon.workers()
        for _ in range(rounds()):
            wait_for_a_random_moment(random_numbers)
            after = daemon.wait_replaced(daemon.signal_workers([name], signal.SIGSTOP))
            assert after[name].last_exit.startswith("stuck: no heartbeat"), after[name].last_exit
            load.wait_for_progress()
        assert {one.restarts for one in after.values()} <= {0, rounds()}, "nobody else was restarted"


def test_killing_the_supervisor_and_starting_the_daemon_again_breaks_no_promise() -> None:
    random_numbers = chance("kill supervisor")
    with killing(random_numbers, "kills") as (daemon, load):
        for _ in range(rounds()):
            wait_for_a_random_moment(random_numbers)
            daemon.kill_supervisor()
            daemon.start()
            load.wait_for_progress()


def test_a_supervisor_that_was_paused_restarts_no_worker_and_breaks_no_promise() -> None:
    random_numbers = chance("stop supervisor")
    with killing(random_numbers, "pauses (SIGSTOP)") as (daemon, load):
        before = {name: one.pid for name, one in daemon.workers().items()}
        for _ in range(rounds()):
            wait_for_a_random_moment(random_numbers)
            daemon.signal_supervisor(signal.SIGSTOP)
            load.wait_for_progress()
            pause(random_numbers.uniform(0.5, 1.5) * STUCK_AFTER_SEC)
            daemon.signal_supervisor(signal.SIGCONT)
            load.wait_for_progress()
        pause(STUCK_AFTER_SEC)
        after = daemon.workers()
        assert {name: one.pid for name, one in after.items()} == before
        assert {one.restarts for one in after.values()} == {0}
