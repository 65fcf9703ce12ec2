"""Claude Code's teams: mail for a teammate arrives in its native inbox, and the sender learns what became of it."""

import json

from support.agents.model_server import ModelServer
from support.agents.sessions import idle_session
from support.agents.workplace import RUN_BOUND_SEC, NewPlace
from support.harness.waiting import wait_until

HELPER = {"name": "helper", "description": "helps", "prompt": "@@ say I am ready", "subagent_type": "general-purpose"}
ANSWERING = "@@ tool acknowledge_message {ids}\n@@ tool reply {answer}\n@@ say done"


def test_mail_for_a_teammate_is_taken_and_answered_and_its_team_ends(new_place: NewPlace, models: ModelServer) -> None:
    place = new_place("claude-code")
    place.extra["CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS"] = "1"
    teams = place.daemon.root / "teams"
    teams.mkdir(exist_ok=True)
    (place.home / ".claude").mkdir(exist_ok=True)
    (place.home / ".claude" / "teams").symlink_to(teams)
    with idle_session(place) as terminal:
        [team] = teams.iterdir()
        terminal.submit(f"@@ tool Agent {json.dumps(HELPER)}")
        wait_until(lambda: '"helper"' in (team / "config.json").read_text(), "the helper is a member", RUN_BOUND_SEC)
        helper = f"helper@{team.name}"
        answer = json.dumps({"message_id": "$ID", "content": "yes, ready"})
        script = ANSWERING.format(ids='{"message_id": "$ID"}', answer=answer)
        asked = place.send(f"ready? 5e\n{script}", to=helper)
        models.wait_for_text("ready? 5e", RUN_BOUND_SEC)
        assert place.sender_of_mail("amy") == helper, "the helper answers under its own name"
        assert place.state_of(asked).value == "read", "and acknowledges"
        told = place.send("for your information 6f", to=helper)
        assert (told.delivery.recipient_known, told.delivery.team_inbox_error) == (True, None)
        models.wait_for_text("for your information 6f", RUN_BOUND_SEC)
        wait_until(lambda: place.state_of(told).value == "offered", "its sender sees that it was taken", RUN_BOUND_SEC)
        terminal.submit("/exit")
        wait_until(lambda: not team.exists(), "Claude Code deletes the team's directory", RUN_BOUND_SEC)
    wait_until(lambda: place.state_of(told).value == "read", "nobody is left to acknowledge it", RUN_BOUND_SEC)
    late = place.send("too late", to=helper)
    assert f"there is no team {team.name}" in str(late.delivery.team_inbox_error)
    assert not team.exists()
