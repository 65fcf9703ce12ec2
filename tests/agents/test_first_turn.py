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
@pytest.mark.parametrize("name", ["codex", "gemini", "opencode"])
def test_the_first_request_has_all_tools(new_place: NewPlace, models: ModelServer, name: str) -> None:
    """Codex began five of nine first turns without them."""
    place = new_place(name)
    place.run(*PROGRAMS[name].ask("@@ say hello"))
    names = models.requests[0].tool_names
    assert sum("mailroom" in tool for tool in names) == TOOLS, names


@pytest.mark.parametrize("name", PROGRAMS)
def test_mail_arrives_between_two_steps_once(new_place: NewPlace, models: ModelServer, name: str) -> None:
    """The agent sends itself a message: it is there behind the tool, and is not shown again."""
    place = new_place(name)
    note = f'{{"to_session_id": "{place.agent}", "content": "between the steps 4b"}}'
    prompt = f"{PROGRAMS[name].reach}@@ tool send_message {note}\n@@ tool list_agents {{}}\n@@ say done"
    place.run(*PROGRAMS[name].ask(prompt))
    reports = [request.text.count(f"Mail for {place.agent}") for request in models.requests]
    assert reports[0] == 0
    assert max(reports) == 1, "it is shown once, and stays in the conversation"


def test_geminis_extension_alone_gives_the_tools_and_the_mail(new_place: NewPlace, models: ModelServer) -> None:
    place = new_place("gemini", "--extension")
    place.send("by the extension 8c")
    place.run(*PROGRAMS["gemini"].ask("@@ tool check_inbox {}\n@@ say done"))
    assert sum(tool.startswith("mcp_mailroom_") for tool in models.requests[0].tool_names) == TOOLS
    assert "by the extension 8c" in models.requests[0].text
