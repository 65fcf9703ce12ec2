"""Doorbells of the programs that are not woken by an exit code, with a real daemon: each has another way.

The doorbell of Claude Code is in `test_doorbell.py`; the programs themselves are in `tests/agents`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from mailroom import DeliveryState, Mailroom
from mailroom_apps.hooks.ringing_watcher import RING
from support.harness.daemon import Daemon
from support.harness.doorbells import NO_MAIL, end_of, state_of, wait_until_watching
from support.harness.hooks import Session
from support.harness.waiting import BOUND_SEC, wait_until


@pytest.fixture
def client(daemon: Daemon) -> Generator[Mailroom, None, None]:
    with Mailroom(daemon.address, sender="alice") as client:
        yield client


@pytest.fixture
def session(daemon: Daemon, request: pytest.FixtureRequest) -> Session:
    name = re.sub(r"[^a-z0-9_]", "-", request.node.name)
    return Session(daemon.directory, id=f"s-{name}", address=daemon.address)


def test_the_codex_session_that_was_used_last_has_the_doorbell_of_its_agent(client: Mailroom, session: Session) -> None:
    """`/clear` and `/quit` leave a session in Codex's server, and each message started a turn there as well."""
    session.agent = "worker-codex"
    following = Session(session.directory, id=f"{session.id}-2", agent=session.agent, address=session.address)
    first = session.doorbell("--dialect", "codex", "--then", "false")
    wait_until_watching(session)
    other = Session(session.directory, id=f"{session.id}-3", agent="another-codex", address=session.address)
    others = other.doorbell("--dialect", "codex", "--then", "true")
    wait_until_watching(other)
    assert first.poll() is None
    rung = session.directory / f"rung-{session.id}"
    second = following.doorbell("--dialect", "codex", "--then", f'cat >>"{rung}"; echo " $MAILROOM_SESSION" >>"{rung}"')
    assert end_of(first) == (NO_MAIL, "")
    wait_until_watching(following)
    sent = client.send(session.agent, "to the second session")
    wait_until(lambda: rung.exists() and rung.read_text().endswith("\n"), "it rings")
    assert state_of(client, sent.id) is DeliveryState.FILED
    assert "to the second session" in following.hook("UserPromptSubmit", dialect="codex")
    assert end_of(second) == (NO_MAIL, ""), "a turn has begun"
    assert state_of(client, sent.id) is DeliveryState.OFFERED
    assert rung.read_text() == f"{RING} {following.id}\n"
    assert others.poll() is None
    others.terminate()
    assert end_of(others) == (NO_MAIL, "")


def test_mail_goes_to_the_command_that_wakes_another_program(client: Mailroom, session: Session) -> None:
    taken = session.directory / f"taken-{session.id}"
    doorbell = session.doorbell("--then", f'cat >"{taken}.$MAILROOM_SESSION"')
    wait_until_watching(session)
    sent = client.send(session.id, "wake up")
    assert end_of(doorbell) == (NO_MAIL, "")
    assert "wake up" in Path(f"{taken}.{session.id}").read_text()
    assert state_of(client, sent.id) is DeliveryState.OFFERED
    assert session.hook("UserPromptSubmit") == ""


def test_gemini_on_call_is_answered_with_the_mail(client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell("--dialect", "gemini", stdin=session.event("AfterAgent"))
    sent = client.send(session.id, "one more task")
    stdout, _ = doorbell.communicate(timeout=BOUND_SEC)
    assert doorbell.returncode == NO_MAIL
    answer = json.loads(stdout)
    assert answer["decision"] == "block"
    assert "one more task" in answer["reason"]
    assert state_of(client, sent.id) is DeliveryState.OFFERED


@pytest.mark.parametrize("next_event", ["AfterTool", "AfterAgent", None])
def test_mail_that_gemini_was_answered_with_after_esc_is_shown_with_the_next_prompt(
    client: Mailroom, session: Session, next_event: str | None
) -> None:
    """Gemini does not end a hook when a person ends its turn with Esc, and drops its answer."""
    doorbell = session.doorbell("--dialect", "gemini", stdin=session.event("AfterAgent"))
    client.send(session.id, "one more task")
    answer = json.loads(doorbell.communicate(timeout=BOUND_SEC)[0])
    assert session.hook("BeforeAgent", dialect="gemini", prompt=answer["reason"]) == ""
    if not next_event:  # as Gemini ends a turn that was ended before
        assert session.hook("AfterAgent", dialect="gemini", stop_hook_active=True) == ""
    else:
        assert session.hook(next_event, dialect="gemini") == ""
    assert ("one more task" in session.hook("BeforeAgent", dialect="gemini")) is (next_event is None)
    assert session.hook("BeforeAgent", dialect="gemini") == ""


def test_a_prompt_ends_the_doorbell_of_a_turn_of_gemini_that_was_ended_with_esc(
    client: Mailroom, session: Session
) -> None:
    doorbell = session.doorbell("--dialect", "gemini", stdin=session.event("AfterAgent"))
    wait_until_watching(session)
    assert session.hook("BeforeAgent", dialect="gemini") == ""
    assert end_of(doorbell) == (NO_MAIL, "")
    client.send(session.id, "during the turn")
    assert "during the turn" in session.hook("AfterTool", dialect="gemini")


def prompts_in(file: Path) -> list[str]:
    """Returns the prompts that Qwen finds in its input file."""
    return [json.loads(line)["text"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize("form", ["--input-file={}", "--input-file {}"])
def test_qwen_is_told_of_mail_by_its_input_file_until_its_hook_shows_it(
    client: Mailroom, session: Session, tmp_path: Path, form: str
) -> None:
    """Qwen drops a prompt that comes while it is busy; mail in it would count as shown."""
    file = tmp_path / "input.jsonl"
    file.write_text('{"type": "submit", "text": "before"}\n')
    words = form.format(file.name).split()  # relative to where it works
    with subprocess.Popen([sys.executable, "-c", "input()", *words], cwd=tmp_path, stdin=subprocess.PIPE) as qwen:
        doorbell = session.doorbell("--dialect", "qwen", "--pid", str(qwen.pid))
        sent = client.send(session.id, "wake up")
        wait_until(lambda: len(prompts_in(file)) == 3, "it rings again")
        assert state_of(client, sent.id) is DeliveryState.FILED
        assert "wake up" in session.hook("UserPromptSubmit", dialect="qwen")
        following = client.send(session.id, "once more")
        wait_until(lambda: len(prompts_in(file)) > 3, "the next message rings, without another doorbell")
        assert "once more" in session.hook("PostToolUse", dialect="qwen")
        assert {state_of(client, each.id) for each in (sent, following)} == {DeliveryState.OFFERED}
        qwen.kill()
        assert end_of(doorbell) == (NO_MAIL, "")
    assert prompts_in(file) == ["before", RING, RING, RING]


def test_after_a_clear_one_doorbell_of_qwen_rings(client: Mailroom, session: Session, tmp_path: Path) -> None:
    words = ("--input-file", str(tmp_path / "input.jsonl"))
    (tmp_path / "input.jsonl").touch()
    with subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE) as qwen:
        first = session.doorbell("--dialect", "qwen", "--pid", str(qwen.pid))
        wait_until_watching(session)
        following = Session(session.directory, id=f"{session.id}-2", address=session.address)
        second = following.doorbell("--dialect", "qwen", "--pid", str(qwen.pid))
        assert end_of(first) == (NO_MAIL, "")
        wait_until_watching(following)
        qwen.kill()
        assert end_of(second) == (NO_MAIL, "")


def test_qwen_without_an_input_file_has_no_doorbell(session: Session) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as qwen:
        doorbell = session.doorbell("--dialect", "qwen", "--pid", str(qwen.pid))
        assert end_of(doorbell) == (NO_MAIL, "")
        qwen.kill()


@pytest.mark.parametrize(("command", "is_woken"), [("exec", False), ("app-server", True)])
def test_a_run_of_codex_that_ends_by_itself_has_no_doorbell(
    client: Mailroom, session: Session, command: str, is_woken: bool
) -> None:
    client.send(session.id, "waits")
    rung = session.directory / f"rung-{session.id}"
    run = "import subprocess, sys; input(); subprocess.run(sys.argv[3:], input=sys.argv[2].encode())"
    doorbell = session.command("doorbell", "--dialect", "codex", "--then", f'touch "{rung}"')
    words = [sys.executable, "-c", run, command, session.event("Stop").decode(), *doorbell]
    with subprocess.Popen(words, env=session.environment(), stdin=subprocess.PIPE) as codex:
        assert codex.stdin is not None
        codex.stdin.write(b"\n")
        codex.stdin.flush()
        if is_woken:
            wait_until(rung.exists, "it rings")
            codex.kill()  # the doorbell ends with its session
        codex.wait(BOUND_SEC)
    assert rung.exists() == is_woken


def test_mail_that_the_command_did_not_take_stays_unseen(client: Mailroom, session: Session) -> None:
    doorbell = session.doorbell("--then", "echo no such thread >&2; exit 3")
    wait_until_watching(session)
    sent = client.send(session.id, "still unseen")
    code, stderr = end_of(doorbell)
    assert (code, "--then failed (3): no such thread" in stderr) == (1, True)
    assert state_of(client, sent.id) is DeliveryState.FILED
    assert "still unseen" in session.hook("UserPromptSubmit")
