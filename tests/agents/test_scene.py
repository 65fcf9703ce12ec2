"""A scene of three vendors: an idle Codex hands work to a waiting Gemini, Gemini to an idle opencode, and that back.

With MAILROOM_SCENE=FILE it writes down what the terminals showed, for docs/agents.md.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mailroom import Mailroom
from support.agents.model_server import ModelServer
from support.agents.programs import PROGRAMS
from support.agents.sessions import idle_session
from support.agents.workplace import RUN_BOUND_SEC, NewPlace, Workplace


def calling(tool: str, **arguments: object) -> str:
    """Returns the line of a script that calls a tool."""
    return f"@@ tool {tool} {json.dumps(arguments)}"


def test_three_programs_write_to_each_other(new_place: NewPlace, models: ModelServer) -> None:
    planner, builder, tester = (new_place(name) for name in ("codex", "gemini", "opencode"))
    report = calling("send_message", to_session_id=planner.agent, content="build 7c1 is green")
    task = f"please test build 7c1\n{report}\n@@ say told"
    to_test = calling("send_message", to_session_id=tester.agent, content=task)
    to_build = calling("send_message", to_session_id=builder.agent, content="please build 7c1")
    waiting = "\n".join([calling("wait_for_message", timeout_sec=60), to_test, "@@ say built it, and asked for tests"])
    with idle_session(planner) as codex, idle_session(tester) as opencode, ThreadPoolExecutor(1) as background:
        gemini = background.submit(builder.run, *PROGRAMS["gemini"].ask(waiting))
        planner.send(f"we need build 7c1\n{to_build}\n@@ say asked the builder")
        models.wait_for(
            lambda request: f"Mail for {planner.agent}" in request.text and f"from {tester.agent}" in request.text,
            "the answer comes back to the first one",
            RUN_BOUND_SEC,
        )
        codex.wait_for("• done", RUN_BOUND_SEC)
        screens = {"Codex": codex.screen(), "Gemini CLI": gemini.result(RUN_BOUND_SEC), "opencode": opencode.screen()}
    steps = [step for place in (planner, builder, tester) for step in steps_of(place)]
    assert len(steps) == 4
    assert all(states[-2:] == ["filed", "offered"] for _, states in steps), steps
    if file := os.environ.get("MAILROOM_SCENE"):
        shown = [f"== {name}\n{text.strip()}" for name, text in screens.items()]
        Path(file).write_text("\n\n".join([*shown, "== messages", *(f"{line}  {states}" for line, states in steps)]))


def steps_of(place: Workplace) -> list[tuple[str, list[str]]]:
    """Returns the messages for an agent, with the states of each."""
    with Mailroom(place.daemon.address, sender="amy") as client:
        tracked = [client.get_message(message.id) for message in client.list_messages(place.agent)]
    return [
        (f"{each.message.sender} -> {each.message.recipient}", [step.state.value for step in each.history])
        for each in tracked
    ]
