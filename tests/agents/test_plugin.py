"""Claude Code's plugin: made by `mailroom setup`, installed by Claude Code, without any other setup."""

from support.agents.model_server import ModelServer
from support.agents.sessions import idle_session
from support.agents.workplace import RUN_BOUND_SEC, NewPlace
from support.harness.waiting import wait_until

TOOLS = 8


def test_the_plugin_alone_gives_tools_and_mail_and_wakes(new_place: NewPlace, models: ModelServer) -> None:
    place = new_place("claude-code", "--plugin")
    directory = str(place.home / ".local" / "share" / "mailroom" / "claude-code")
    place.run("claude", "plugin", "validate", "--strict", directory)
    place.run("claude", "plugin", "marketplace", "add", directory)
    place.run("claude", "plugin", "install", "mailroom@mailroom")
    assert "setup claude-code    set up (plugin)" in place.mailroom(
        "doctor", "--state-dir", str(place.daemon.state_dir)
    )
    with idle_session(place):
        sent = place.send('wake up 1f\n@@ tool acknowledge_message {"message_id": "$ID"}\n@@ say done')
        request = models.wait_for_text("wake up 1f", RUN_BOUND_SEC)
        wait_until(lambda: place.state_of(sent).value == "read", "the session acknowledges", RUN_BOUND_SEC)
        assert sum(tool.startswith("mcp__plugin_mailroom_mailroom__") for tool in request.tool_names) == TOOLS
