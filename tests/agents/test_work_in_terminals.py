"""What a person does in the terminal of a session: mail that comes meanwhile is shown once, and disturbs nothing."""

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.sessions import (
    begin_anew,
    doorbells,
    idle_session,
    interrupt_a_call,
    times_shown,
    wait_until_watched,
    wake,
)
from support.agents.workplace import RUN_BOUND_SEC, NewPlace
from support.harness.waiting import wait_until

WOKEN = ("claude-code", "codex", "opencode", "qwen")  # nobody types into a session of Gemini that is on call
WOKEN_AFTER_ESC = ("claude-code", "opencode", "qwen")  # Codex holds back what is queued until the next prompt


@pytest.mark.parametrize("name", WOKEN)
def test_one_doorbell_watches_after_each_clear_and_rings_once(
    new_place: NewPlace, models: ModelServer, name: str
) -> None:
    """Each `/clear` left a doorbell behind, and each of them rang."""
    place = new_place(name)
    with idle_session(place) as terminal:
        for _ in range(2):
            begin_anew(place, terminal)
        wake(place, "after the clear 5c")
        wake(place, "once more 6d")
        assert [times_shown(models.requests, text) for text in ("after the clear 5c", "once more 6d")] == [1, 1]


def test_a_session_without_a_name_keeps_its_first_one_after_a_clear(new_place: NewPlace, models: ModelServer) -> None:
    """The server goes on with the first session's id, and the hooks looked for mail under the new one."""
    place = new_place("claude-code", is_named=False)
    with idle_session(place) as terminal:
        terminal.submit('@@ tool send_message {"to_session_id": "amy", "content": "hello"}')
        place.agent, place.is_named = place.sender_of_mail("amy"), True
        terminal.wait_for("● done", RUN_BOUND_SEC)
        begin_anew(place, terminal)
        place.send("an answer 3d")
        request = models.wait_for_text("an answer 3d", RUN_BOUND_SEC)
        assert f"Mail for {place.agent}" in request.text


@pytest.mark.parametrize("name", WOKEN_AFTER_ESC)
def test_an_interrupted_session_is_woken(new_place: NewPlace, models: ModelServer, name: str) -> None:
    place = new_place(name)
    with idle_session(place) as terminal:
        interrupt_a_call(place, terminal)
        wake(place, "after Esc 9b")
        assert times_shown(models.requests, "after Esc 9b") == 1


def test_an_interrupted_session_of_codex_has_its_mail_with_the_next_prompt(
    new_place: NewPlace, models: ModelServer
) -> None:
    """It was queued, and counted as shown; what is queued after Esc stays in the queue."""
    place = new_place("codex")
    with idle_session(place) as terminal:
        interrupt_a_call(place, terminal)
        sent = place.send("after Esc 9b")
        assert place.state_of(sent).value == "filed"
        terminal.submit("@@ say typed")
        models.wait_for_text("after Esc 9b", RUN_BOUND_SEC)
        assert times_shown(models.requests, "after Esc 9b") == 1


@pytest.mark.parametrize("comes_before_prompt", [True, False])
def test_an_interrupted_session_of_gemini_sees_mail_from_the_next_prompt_on(
    new_place: NewPlace, models: ModelServer, comes_before_prompt: bool
) -> None:
    """Its hook goes on waiting, and its answer reached no model."""
    program = PROGRAMS["gemini"]
    place = new_place("gemini", *program.idle_setup)
    with idle_session(place) as terminal:
        for key in program.interrupt:
            terminal.press(key)
        terminal.wait_for(program.is_interrupted, RUN_BOUND_SEC)
        if comes_before_prompt:
            place.send("after Esc 9b")
            wait_until(lambda: not doorbells(place), "the hook has answered", RUN_BOUND_SEC)
            terminal.submit("@@ say typed")
        else:
            before = doorbells(place)
            terminal.submit("@@ say typed")
            wait_until_watched(place, instead_of=before[0])
            place.send("after Esc 9b")
        models.wait_for_text("after Esc 9b", RUN_BOUND_SEC)
        assert times_shown(models.requests, "after Esc 9b") == 1


@pytest.mark.parametrize("name", WOKEN_AFTER_ESC)
def test_a_session_that_is_interrupted_in_the_turn_that_woke_it_is_woken_again(
    new_place: NewPlace, models: ModelServer, name: str
) -> None:
    """The doorbell has rung, and there is no stop that arms the next one."""
    place = new_place(name)
    with idle_session(place) as terminal:
        interrupt_a_call(place, terminal, by_mail=True)
        wake(place, "after Esc 9b")
        assert times_shown(models.requests, "after Esc 9b") == 1


@pytest.mark.parametrize("name", WOKEN)
def test_a_half_written_prompt_survives_a_wake(new_place: NewPlace, name: str) -> None:
    place = new_place(name)
    with idle_session(place) as terminal:
        terminal.type("half a sentence")
        terminal.wait_for("half a sentence")
        [doorbell] = doorbells(place)
        wake(place, "meanwhile 2a")
        wait_until_watched(place, instead_of=doorbell)
        assert "half a sentence" in terminal.screen()
