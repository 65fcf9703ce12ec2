"""The first turn of each program, without a terminal: it ends, has its waiting mail once, and its tools work."""

import pytest
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.workplace import NewPlace

TOOLS = 8


@pytest.mark.quick
@pytest.mark.parametrize("name", ["claude-code", "codex", "gemini"])
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
