"""The hook and the doorbell beside a real daemon: what senders see of them, and when the doorbell rings and leaves."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from mailroom import DeliveryState, Mailroom
from support.harness.daemon import Daemon, short_directory
from support.harness.hooks import Session
from support.harness.waiting import BOUND_SEC, pause, wait_until

RUNG, NOTHING = 2, 0


@pytest.fixture(scope="module")
def daemon() -> Generator[Daemon, None, None]:
    with short_directory() as directory:
        running = Daemon(directory)
        try:
            running.start()
            yield running
        finally:
            running.kill_everything()


@pytest.fixture
def room(daemon: Daemon) -> Generator[Mailroom, None, None]:
    with Mailroom(daemon.address, sender="alice") as client:
        yield client


@pytest.fixture
def session(daemon: Daemon, request: pytest.FixtureRequest) -> Session:
    return Session(daemon.directory, id=f"s-{request.node.name}", address=daemon.address)


def is_watching(session: Session) -> bool:
    """Returns whether a doorbell holds the place of the session's one."""
    bell = session.memory.with_suffix(".bell")
    return bell.exists() and bool(bell.read_bytes())


def wait_until_watching(session: Session) -> None:
    """Waits until a doorbell has the place, and gRPC's threads: its stream is there, or about to be.

    Observing streams are no presence, so the daemon does not tell. Nothing depends on it: mail that comes before the
    stream is found by looking.
    """
    bell = session.memory.with_suffix(".bell")

    def has_threads() -> bool:
        with suppress(OSError, ValueError):
            return len(list(Path(f"/proc/{int(bell.read_bytes())}/task").iterdir())) > 1
        return False

    wait_until(has_threads, "a doorbell watches")


def end_of(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Returns how a doorbell ends, and what it says."""
    _, said = process.communicate(timeout=BOUND_SEC)
    return process.returncode, (said or b"").decode()


def state_of(room: Mailroom, message_id: str) -> DeliveryState:
    return room.get_message(message_id).delivery.state


def test_what_a_hook_has_shown_is_offered_and_not_read(room: Mailroom, session: Session) -> None:
    sent = room.send(session.id, "hello")
    assert state_of(room, sent.id) is DeliveryState.FILED
    assert "hello" in session.hook("UserPromptSubmit")
    assert state_of(room, sent.id) is DeliveryState.OFFERED
    assert [message.id for message in room.check_inbox(session.id, observe=True)] == [sent.id]


def test_a_session_that_starts_is_known_by_its_agents_name(room: Mailroom, session: Session) -> None:
    session.agent = "the-agent"
    assert session.hook("SessionStart") == ""
    sent = room.send(session.id, "to the session's id")
    assert sent.message.recipient == "the-agent"
    assert "to the session's id" in session.hook("PostToolUse")


def test_mail_rings_an_idle_session_and_is_offered(room: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    sent = room.send(session.id, "wake up")
    code, said = end_of(doorbell)
    assert code == RUNG
    assert f"message {sent.id} from alice" in said
    assert "wake up" in said
    assert state_of(room, sent.id) is DeliveryState.OFFERED
    assert session.hook("PostToolUse") == ""
    assert not is_watching(session)


def test_mail_that_nobody_has_shown_rings_at_once_and_never_again(room: Mailroom, session: Session) -> None:
    room.send(session.id, "came in the last moment", priority="urgent")
    code, said = end_of(session.doorbell())
    assert code == RUNG
    assert "came in the last moment" in said
    assert session.hook("Stop") == ""  # it has been woken for it already
    doorbell = session.doorbell()
    wait_until_watching(session)
    assert doorbell.poll() is None
    doorbell.terminate()
    assert end_of(doorbell) == (NOTHING, "")


def test_a_newer_doorbell_takes_over(room: Mailroom, session: Session) -> None:
    first = session.doorbell()
    wait_until_watching(session)
    second = session.doorbell()
    assert end_of(first) == (NOTHING, "")
    wait_until_watching(session)
    other = Session(session.directory, id=f"{session.id}-other", address=session.address)
    beside = other.doorbell()
    wait_until_watching(other)
    room.send(session.id, "for the second")
    assert end_of(second)[0] == RUNG
    assert beside.poll() is None
    beside.terminate()
    assert end_of(beside)[0] == NOTHING


def test_a_session_at_work_needs_no_doorbell(session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    assert session.hook("PostToolUse", agent_id="subagent") == ""
    assert doorbell.poll() is None
    assert session.hook("UserPromptSubmit") == ""
    assert end_of(doorbell) == (NOTHING, "")


def test_the_doorbell_survives_restarts_of_the_daemon(daemon: Daemon, room: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    for end in (daemon.stop, daemon.kill_supervisor):
        end()
        daemon.start()
        wait_until_watching(session)
        assert doorbell.poll() is None
    room.send(session.id, "still there?")
    code, said = end_of(doorbell)
    assert (code, "still there?" in said) == (RUNG, True)


def test_the_doorbell_waits_for_a_daemon_that_is_down(daemon: Daemon, room: Mailroom, session: Session) -> None:
    daemon.stop()
    doorbell = session.doorbell()
    wait_until(lambda: is_watching(session), "the doorbell waits")
    daemon.start()
    room.send(session.id, "first mail")
    assert end_of(doorbell)[0] == RUNG


def test_the_doorbell_ends_with_its_session(session: Session) -> None:
    # A shell between the two, as Claude Code has one; the session is the Python process around it.
    script = "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1] + '; exit $?'])"
    hook = " ".join([sys.executable, "-m", "mailroom_apps", "doorbell"])
    with Path(session.directory / "said").open("wb") as said:
        parent = subprocess.Popen(
            [sys.executable, "-c", script, hook],
            env=session.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    assert parent.stdin is not None
    parent.stdin.write(session.event("Stop"))
    parent.stdin.close()
    wait_until_watching(session)
    parent.kill()
    parent.wait(BOUND_SEC)
    wait_until(lambda: not is_watching(session), "the doorbell has left")


def test_the_doorbell_ends_when_nobody_reads_what_it_would_say(room: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    assert doorbell.stderr is not None
    doorbell.stderr.close()
    doorbell.stderr = None
    assert end_of(doorbell)[0] == NOTHING
    sent = room.send(session.id, "nobody was told")
    assert "nobody was told" in session.hook("UserPromptSubmit")
    assert state_of(room, sent.id) is DeliveryState.OFFERED


def test_the_doorbell_of_an_agent_needs_no_event_and_ends_with_a_given_process(session: Session) -> None:
    process = subprocess.Popen(["sleep", "60"])
    agent = Session(session.directory, id="the-porter", address=session.address)
    doorbell = agent.doorbell("the-porter", "--pid", str(process.pid), stdin=b"")
    wait_until_watching(agent)
    process.kill()
    process.wait()
    assert end_of(doorbell) == (NOTHING, "")


def test_a_waiting_doorbell_costs_nothing(session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    before = cpu_ticks(doorbell.pid)
    pause(2.0)
    assert cpu_ticks(doorbell.pid) - before <= 2  # of 10 ms
    doorbell.terminate()
    assert end_of(doorbell)[0] == NOTHING


def test_a_stopped_doorbell_is_no_reason_to_wait(session: Session) -> None:
    first = session.doorbell()
    wait_until_watching(session)
    os.kill(first.pid, signal.SIGSTOP)
    assert end_of(session.doorbell())[0] == NOTHING  # it gave way: the first one may go on at any time
    os.kill(first.pid, signal.SIGCONT)
    assert end_of(first) == (NOTHING, "")


@pytest.mark.parametrize("arguments", [("--no-such-option",), ("a", "b"), ("../x",), ("--pid", "x")])
def test_a_wrong_setting_never_wakes_a_session(session: Session, arguments: tuple[str, ...]) -> None:
    assert end_of(session.doorbell(*arguments))[0] == 1


def test_a_doorbell_that_cannot_remember_does_not_ring(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.deliver("again and again")
    session.memory.parent.parent.mkdir()
    session.memory.parent.write_text("a file is in the way")
    code, said = end_of(session.doorbell())
    assert code == 1
    assert "not watching" in said
    assert "again and again" not in said


def cpu_ticks(pid: int) -> int:
    """Returns the CPU time that a process has used, in ticks of 10 ms."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)
