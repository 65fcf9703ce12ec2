"""The examples run as their README says; one daemon serves all but the scene, which starts its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.harness.daemon import Daemon

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT_SEC = 60


@pytest.fixture(scope="module")
def environment(daemon: Daemon) -> Mapping[str, str]:
    """The environment of a user who has this daemon and no settings of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    return kept | {"HOME": str(daemon.directory), "MAILROOM_ADDRESS": daemon.address}


def run(environment: Mapping[str, str], program: str, *arguments: str, text: str = "") -> str:
    """Runs an example to its end, which has to be a good one; returns its output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, *arguments],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SEC,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_message_is_sent_and_received(environment: Mapping[str, str]) -> None:
    output = run(environment, "send_and_receive.py")
    assert "which is filed\nbob received from alice: The build is green. {'build': 7}\n" in output


def test_a_request_gets_its_reply_and_the_agent_loop_ends_when_told(environment: Mapping[str, str]) -> None:
    with subprocess.Popen([sys.executable, EXAMPLES / "agent_loop.py"], env=environment) as agent:
        try:
            assert run(environment, "request_reply.py", "is", "it", "done?") == "IS IT DONE?\n"
            subprocess.run(
                [Path(sys.executable).with_name("mailroom"), "send", "shouter", "stop", "--from", "alice"],
                env=environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            assert agent.wait(TIMEOUT_SEC) == 0
        finally:
            agent.kill()


def test_lines_are_imported_once_however_often_it_runs(environment: Mapping[str, str]) -> None:
    for _ in range(2):
        output = run(environment, "bulk_import.py", "archive", "log-2026", text="one\ntwo\nthree\n")
        assert output == "3 stored\n"
    mailroom = Path(sys.executable).with_name("mailroom")
    listed = subprocess.run(
        [mailroom, "list", "archive", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 3


def test_workers_answer_a_task_that_was_broadcast(environment: Mapping[str, str]) -> None:
    output = run(environment, "async_tasks.py")
    assert sorted(output.splitlines()) == [f"worker-{number} finished the report" for number in (1, 2, 3)]


def test_all_events_are_watched_from_the_beginning(environment: Mapping[str, str]) -> None:
    run(environment, "send_and_receive.py")
    output = run(environment, "watch_all.py", "4")
    assert len(output.splitlines()) == 4
    assert " -> " in output


def test_two_agents_talk_and_a_third_is_woken() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "two-agents" / "run.py"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("RESULT: ok\n")
    assert "builder  received a task from planner: build it" in done.stdout
    assert "porter   was woken by planner: it is built: lock the doors" in done.stdout
    assert "'offered', 'read'" in done.stdout
