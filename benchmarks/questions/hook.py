"""hook — what does a hook that has nothing to show cost an agent at each of its tool calls?"""

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

QUESTION = "How long does a silent `mailroom hook` take from the start of its process to its end?"
METHOD = (
    "Started as Claude Code does, with a PostToolUse event on stdin; in the inbox are 10 unread messages that this "
    "session was shown before. The same without any inbox, and an interpreter that does nothing, in turn; medians. No "
    "daemon runs: a silent hook asks none."
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

    rounds.take(options.pick(60, 15), *(partial(run, name) for name in COMMANDS))
    figures = [
        Figure(name, rounds.median(name), "ms", _shown(command), at_most(60) if command[1] == "hook" else None)
        for name, command in COMMANDS.items()
    ]
    return new_result("hook", QUESTION, METHOD, options, figures, rounds.samples)


def _prepare(data: Path) -> dict[str, str]:
    """Puts messages into an inbox and has them shown once; returns the hooks' environment."""
    inbox = data / "root" / "inbox" / "session"
    inbox.mkdir(parents=True)
    now = int(time.time() * 1000) << 20
    for number in range(UNREAD):
        message_id = f"{now + number:016x}"
        body = {"type": "message", "id": message_id, "from": "bench", "content": "x" * 200}
        (inbox / f"{message_id}.json").write_text(json.dumps(body))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAILROOM_", "XDG_"))}
    environment = inherited | {
        "HOME": str(data),
        "MAILROOM_ROOT": str(data / "root"),
        "MAILROOM_ADDRESS": f"unix:{data}/none.sock",
    }
    _, shown = _run([str(MAILROOM), "hook"], environment)
    if not shown:
        raise RuntimeError("the hook did not show the mail that it was to remember")
    return environment


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, bytes]:
    """Returns the milliseconds that a run took, and its output."""
    event = json.dumps({"session_id": "session", "hook_event_name": "PostToolUse", "tool_name": "Read"}).encode()
    started = time.perf_counter()
    done = subprocess.run(
        command, input=event, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return (time.perf_counter() - started) * 1000, done.stdout


def _shown(command: list[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:]]) + " < event.json"
