"""The first turn of each program, without a terminal: it ends, has its waiting mail once, and its tools work."""

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.workplace import NewPlace

TOOLS = 8


@pytest.mark.quick
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_without_a_terminal_ends_and_has_the_waiting_mail_once(
    new_place: NewPlace, models: ModelServer, name: str
) -> None:
    """Claude Code waited for its doorbell, for a week, before it printed anything."""
    place = new_place(name)
    sent = place.send("the build is red 7a1")
    assert "hello from the stub" in place.run(*PROGRAMS[name].ask("@@ say hello from the stub"))
    assert models.requests[0].text.count("the build is red 7a1") == 1
    assert place.state_of(sent).value == "offered"


@pytest.mark.quick
@pytest.mark.parametrize("name", ["codex", "gemini"])
def test_the_first_request_has_all_tools(new_place: NewPlace, models: ModelServer, name: str) -> None:
    """Codex began five of nine first turns without them."""
    place = new_place(name)
    place.run(*PROGRAMS[name].ask("@@ say hello"))
    names = models.requests[0].tool_names
    assert sum("mailroom" in tool for tool in names) == TOOLS, names


@pytest.mark.parametrize("name", ["codex", "gemini"])
@pytest.mark.parametrize("text", ["界" * 5_000, "a" * 9_240], ids=["CJK", "ASCII"])
def test_long_mail_reaches_the_model_whole_over_several_calls(
    new_place: NewPlace, models: ModelServer, name: str, text: str
) -> None:
    place = new_place(name)
    sent = [place.send(f"<{number}>{text}") for number in range(3)]
    calls = ['@@ tool check_inbox {"new_only": true}']
    for message in sent:
        calls += [
            f'@@ tool check_inbox {{"message_id": "{message.id}", "offset": {offset}}}'
            for offset in range(0, len(text), 2_500)
        ]
    place.run(*PROGRAMS[name].ask("\n".join(calls)))
    seen = "".join(turn.text for turn in models.requests[-1].turns if turn.role == "tool")
    assert "truncated" not in seen
    for number in range(3):
        assert seen.count(f"<{number}>") >= 1
    assert seen.count(text[:2_500]) >= 3 * (len(text) // 2_500)
