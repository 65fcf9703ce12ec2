"""hook — how much time does a hook without new mail add to each tool call of an agent?"""

__all__ = ["measure"]

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.results import Figure, Options, Result, at_most, new_result
from benchmarks.rounds import Rounds
from benchmarks.servers.process import data_directory

QUESTION = "How long does a `mailroom hook` with nothing to show run, from the start of its process to its end?"
METHOD = (
    "Started as Claude Code starts it, with a PostToolUse event on stdin. The inbox has 10 unread messages that this "
    "session has already seen. In turn with it: the same without an inbox, and an interpreter that does nothing; "
    "medians. No daemon runs, because a hook with nothing to show does not call it."
)
UNREAD = 10
MAILROOM = Path(sys.executable).with_name("mailroom")
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "silent, no inbox": [str(MAILROOM), "hook", "--agent", "nobody"],
    "silent, 10 unread shown before": [str(MAILROOM), "hook"],
}


def measure(options: Options) -> Result:
    """Runs the benchmark."""
    rounds = Rounds()
    environment = _prepare(data_directory())

    def run(name: str, _: int) -> dict[str, float]:
        return {name: _run(COMMANDS[name], environment)[0]}

    rounds.run(options.pick(60, 15), *(partial(run, name) for name in COMMANDS))
    figures = [
        Figure(name, rounds.median(name), "ms", _display(command), at_most(60) if command[1] == "hook" else None)
        for name, command in COMMANDS.items()
    ]
    return new_result("hook", QUESTION, METHOD, options, figures, rounds.samples)


def _prepare(data: Path) -> dict[str, str]:
    """Creates messages in an inbox, shows them once, and returns the environment for the hooks."""
    inbox = data / "root" / "inbox" / "session"
    inbox.mkdir(parents=True)
    now = int(time.time() * 1000) << 20
    for index in range(UNREAD):
        message_id = f"{now + index:016x}"
        body = {"type": "message", "id": message_id, "from": "bench", "content": "x" * 200}
        (inbox / f"{message_id}.json").write_text(json.dumps(body))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    environment = inherited | {
        "HOME": str(data),
        "MAILROOM_ROOT": str(data / "root"),
        "MAILROOM_ADDRESS": f"unix:{data}/none.sock",
    }
    _, output = _run([str(MAILROOM), "hook"], environment)
    if not output:
        raise RuntimeError("the hook did not show the mail")
    return environment


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, bytes]:
    """Returns the duration of a run in milliseconds, and its output."""
    event = json.dumps({"session_id": "session", "hook_event_name": "PostToolUse", "tool_name": "Read"}).encode()
    started = time.perf_counter()
    done = subprocess.run(
        command, input=event, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return (time.perf_counter() - started) * 1000, done.stdout


def _display(command: list[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:]]) + " < event.json"
