"""Hook and doorbell with a real daemon: what senders see of them, and when the doorbell exits."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from mailroom import DeliveryState, Mailroom
from support.harness.daemon import Daemon
from support.harness.doorbells import MAIL, NO_MAIL, end_of, is_watching, state_of, wait_until_watching
from support.harness.hooks import Session
from support.harness.waiting import BOUND_SEC, pause, wait_until


@pytest.fixture
def client(daemon: Daemon) -> Generator[Mailroom, None, None]:
    with Mailroom(daemon.address, sender="alice") as client:
        yield client


@pytest.fixture
def session(daemon: Daemon, request: pytest.FixtureRequest) -> Session:
    name = re.sub(r"[^a-z0-9_]", "-", request.node.name)
    return Session(daemon.directory, id=f"s-{name}", address=daemon.address)


def test_a_message_that_a_hook_has_shown_is_offered_and_not_read(client: Mailroom, session: Session) -> None:
    sent = client.send(session.id, "hello")
    assert state_of(client, sent.id) is DeliveryState.FILED
    assert "hello" in session.hook("UserPromptSubmit")
    assert state_of(client, sent.id) is DeliveryState.OFFERED
    assert [message.id for message in client.check_inbox(session.id, observe=True)] == [sent.id]


def test_a_message_that_a_hook_has_cut_is_not_offered(client: Mailroom, session: Session) -> None:
    """`check_inbox(new_only)` left it out, and its end reached no model."""
    sent = client.send(session.id, "x" * 20_000)
    assert "[cut: 20000 characters in all" in session.hook("UserPromptSubmit")
    assert state_of(client, sent.id) is DeliveryState.FILED
    assert session.hook("UserPromptSubmit") == "", "a hook does not repeat it"
    [new] = client.check_inbox(session.id, unoffered_only=True)
    assert new.id == sent.id


def test_a_new_session_becomes_an_alias_of_its_agent(client: Mailroom, session: Session) -> None:
    session.agent = "the-agent"
    assert session.hook("SessionStart") == ""
    sent = client.send(session.id, "to the session's id")
    assert sent.message.recipient == "the-agent"
    assert "to the session's id" in session.hook("PostToolUse")


@pytest.mark.parametrize("show", ["hook", "doorbell"])
def test_mail_of_the_sessions_mailbox_can_be_acknowledged_by_the_agent(
    client: Mailroom, session: Session, show: str
) -> None:
    session.agent = f"agent-of-{show}"
    sent = client.send(session.id, "before there was an alias")
    assert sent.message.recipient == session.id
    shown = session.hook("UserPromptSubmit") if show == "hook" else end_of(session.doorbell())[1]
    assert f"in mailbox {session.id}" in shown
    assert [message.id for message in client.check_inbox(session.agent, observe=True)] == [sent.id]
    assert client.acknowledge(session.agent, sent.id).acknowledged_ids == (sent.id,)


def test_a_session_that_waits_for_mail_is_present(client: Mailroom, session: Session) -> None:
    """It counted as gone five minutes after its last call."""
    session.agent = "idle-agent"
    doorbell = session.doorbell()
    wait_until(lambda: "idle-agent" in [each.name for each in client.agents(alive_only=True)], "it is alive")
    sent = client.send("idle-agent", "wake up")
    assert sent.delivery.recipient_known
    assert sent.delivery.subscribers == 1
    assert end_of(doorbell)[0] == MAIL


def test_mail_wakes_an_idle_session_and_is_offered(client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    sent = client.send(session.id, "wake up")
    code, stderr = end_of(doorbell)
    assert code == MAIL
    assert f"message {sent.id} from alice (unverified), " in stderr
    assert "wake up" in stderr
    assert state_of(client, sent.id) is DeliveryState.OFFERED
    assert session.hook("PostToolUse") == ""
    assert not is_watching(session)


def test_unshown_mail_wakes_the_session_at_once_and_only_once(client: Mailroom, session: Session) -> None:
    client.send(session.id, "came in the last moment", priority="urgent")
    code, stderr = end_of(session.doorbell())
    assert code == MAIL
    assert "came in the last moment" in stderr
    assert session.hook("Stop") == ""  # it has been woken for it already
    doorbell = session.doorbell()
    wait_until_watching(session)
    assert doorbell.poll() is None
    doorbell.terminate()
    assert end_of(doorbell) == (NO_MAIL, "")


def test_a_newer_doorbell_takes_over(client: Mailroom, session: Session) -> None:
    first = session.doorbell()
    wait_until_watching(session)
    second = session.doorbell()
    assert end_of(first) == (NO_MAIL, "")
    wait_until_watching(session)
    other = Session(session.directory, id=f"{session.id}-other", address=session.address)
    beside = other.doorbell()
    wait_until_watching(other)
    client.send(session.id, "for the second")
    assert end_of(second)[0] == MAIL
    assert beside.poll() is None
    beside.terminate()
    assert end_of(beside)[0] == NO_MAIL


def test_the_end_of_a_session_dismisses_its_doorbell_and_work_does_not(session: Session) -> None:
    """A turn that a person interrupts has no stop: the doorbell of the one before it goes on."""
    doorbell = session.doorbell()
    wait_until_watching(session)
    for event in ("UserPromptSubmit", "PostToolBatch"):
        assert session.hook(event) == ""
    assert session.hook("SessionEnd", agent_id="subagent") == ""
    assert doorbell.poll() is None
    assert session.hook("SessionEnd", reason="clear") == ""
    assert end_of(doorbell) == (NO_MAIL, "")


def test_a_prompt_arms_a_doorbell_only_if_none_watches(client: Mailroom, session: Session) -> None:
    """The turn of a prompt may be interrupted, and the doorbell that woke the session has exited."""
    first = session.doorbell(stdin=session.event("UserPromptSubmit"))
    wait_until_watching(session)
    assert end_of(session.doorbell(stdin=session.event("UserPromptSubmit"))) == (NO_MAIL, "")
    assert first.poll() is None
    client.send(session.id, "to the interrupted session")
    assert end_of(first)[0] == MAIL


def test_the_next_session_of_a_process_takes_its_doorbell_over(client: Mailroom, session: Session) -> None:
    first = session.doorbell("--dialect", "claude-code")
    wait_until_watching(session)
    following = Session(session.directory, id=f"{session.id}-2", address=session.address)
    second = following.doorbell("--dialect", "claude-code")
    assert end_of(first) == (NO_MAIL, "")
    wait_until_watching(following)
    client.send(following.id, "to the second session")
    assert end_of(second)[0] == MAIL


@pytest.mark.parametrize(("entrypoint", "wake", "waits"), [("sdk-cli", "", False), ("sdk-cli", "always", True)])
def test_a_session_without_a_terminal_has_no_doorbell_unless_it_asks(
    session: Session, entrypoint: str, wake: str, waits: bool
) -> None:
    doorbell = session.doorbell(CLAUDE_CODE_ENTRYPOINT=entrypoint, MAILROOM_WAKE=wake)
    if waits:
        wait_until_watching(session)
        doorbell.terminate()
    assert end_of(doorbell) == (NO_MAIL, "")
    assert not is_watching(session)


def test_messages_that_arrive_together_ring_once(client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    for number in range(20):
        client.send(session.id, f"<{number}>")
    code, stderr = end_of(doorbell)
    assert (code, [number for number in range(20) if f"<{number}>" not in stderr]) == (MAIL, [])


def test_mail_that_a_tool_has_just_shown_does_not_ring(client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    shown = client.send(session.id, "shown by wait_for_message")
    assert [message.id for message in client.check_inbox(session.id)] == [shown.id]  # it is offered now
    pause(2.0)  # longer than the doorbell gathers: a hook on a busy machine
    assert doorbell.poll() is None
    result = {"messages": [{"id": shown.id, "content": "shown by wait_for_message"}]}
    assert session.hook("PostToolUse", tool_name="mcp__mailroom__wait_for_message", tool_response=result) == ""
    client.send(session.id, "rings")
    code, stderr = end_of(doorbell)
    assert (code, "rings" in stderr, "shown by" in stderr) == (MAIL, True, False)


def test_the_doorbell_survives_restarts_of_the_daemon(daemon: Daemon, client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    for end in (daemon.stop, daemon.kill_supervisor):
        end()
        daemon.start()
        wait_until_watching(session)
        assert doorbell.poll() is None
    client.send(session.id, "still there?")
    code, stderr = end_of(doorbell)
    assert (code, "still there?" in stderr) == (MAIL, True)


def test_the_doorbell_waits_for_a_daemon_that_is_down(daemon: Daemon, client: Mailroom, session: Session) -> None:
    daemon.stop()
    doorbell = session.doorbell()
    wait_until(lambda: is_watching(session), "the doorbell waits")
    daemon.start()
    client.send(session.id, "first mail")
    assert end_of(doorbell)[0] == MAIL


def test_the_doorbell_exits_with_its_session(session: Session) -> None:
    # A shell between the two, as Claude Code has one; the session is the Python process around it.
    script = "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1] + '; exit $?'])"
    hook = " ".join([sys.executable, "-m", "mailroom_apps", "doorbell"])
    with Path(session.directory / "stderr").open("wb") as stderr:
        parent = subprocess.Popen(
            [sys.executable, "-c", script, hook],
            env=session.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    assert parent.stdin is not None
    parent.stdin.write(session.event("Stop"))
    parent.stdin.close()
    wait_until_watching(session)
    parent.kill()
    parent.wait(BOUND_SEC)
    wait_until(lambda: not is_watching(session), "the doorbell has exited")


def test_the_doorbell_exits_when_its_stderr_has_no_reader(client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    assert doorbell.stderr is not None
    doorbell.stderr.close()
    doorbell.stderr = None
    assert end_of(doorbell)[0] == NO_MAIL
    sent = client.send(session.id, "still unseen")
    assert "still unseen" in session.hook("UserPromptSubmit")
    assert state_of(client, sent.id) is DeliveryState.OFFERED


def test_a_doorbell_without_an_event_exits_with_the_given_process(session: Session) -> None:
    process = subprocess.Popen(["sleep", "60"])
    agent = Session(session.directory, id="the-porter", address=session.address)
    doorbell = agent.doorbell("the-porter", "--pid", str(process.pid), stdin=b"")
    wait_until_watching(agent)
    process.kill()
    process.wait()
    assert end_of(doorbell) == (NO_MAIL, "")


def test_a_waiting_doorbell_uses_no_cpu_time(session: Session) -> None:
    doorbell = session.doorbell()
    wait_until_watching(session)
    before = cpu_ticks(doorbell.pid)
    pause(2.0)
    assert cpu_ticks(doorbell.pid) - before <= 2  # of 10 ms
    doorbell.terminate()
    assert end_of(doorbell)[0] == NO_MAIL


def test_a_doorbell_that_cannot_exit_makes_the_newer_one_give_up(session: Session) -> None:
    first = session.doorbell()
    wait_until_watching(session)
    os.kill(first.pid, signal.SIGSTOP)
    assert end_of(session.doorbell())[0] == NO_MAIL  # the first one may go on at any time
    os.kill(first.pid, signal.SIGCONT)
    assert end_of(first) == (NO_MAIL, "")


@pytest.mark.parametrize("arguments", [("--no-such-option",), ("a", "b"), ("../x",), ("--pid", "x")])
def test_a_wrong_setting_never_wakes_a_session(session: Session, arguments: tuple[str, ...]) -> None:
    assert end_of(session.doorbell(*arguments))[0] == 1


def test_a_doorbell_that_cannot_record_mail_does_not_wake_the_session(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.deliver("again and again")
    session.state_file.parent.parent.mkdir()
    session.state_file.parent.write_text("a file is in the way")
    code, stderr = end_of(session.doorbell())
    assert code == 1
    assert "not watching" in stderr
    assert "again and again" not in stderr


def cpu_ticks(pid: int) -> int:
    """Returns the CPU time that a process has used, in ticks of 10 ms."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)
